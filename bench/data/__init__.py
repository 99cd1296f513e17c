"""Data sets as batches: resident, streamed, drawn online."""
