"""Training on several processes with the results of a single one."""
