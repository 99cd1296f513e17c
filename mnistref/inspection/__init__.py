"""Look at a data set: verify, statistics, plots, previews."""
