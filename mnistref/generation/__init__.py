"""Make a data set: plan, executors, shard workers, online images."""
