"""Training on several processes that act as one."""
