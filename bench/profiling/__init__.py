"""Time and memory of networks."""
