"""Pages beside the shards: data card, Croissant, credits. Pure text."""
