"""Helpers that know nothing of digits: errors, files, processes, numba, click."""
