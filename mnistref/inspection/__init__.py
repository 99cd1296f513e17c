"""Inspect a data set: verification, statistics, plots, previews."""
