"""Checks of user modules before a benchmark."""
