"""Helpers that are independent of digits: errors, files, processes, numba, click."""
