"""Data sets as batches: resident on the device, streamed to it, or generated online."""
