"""The training loop, its step, checkpoints and progress."""
