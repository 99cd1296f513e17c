"""Checks whether a mechanism can be benchmarked."""
