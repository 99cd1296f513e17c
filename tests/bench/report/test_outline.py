"""Outlines of digits."""

import re

import numpy as np

from bench.report.outline import outline


def test_an_outline_is_the_edge_of_each_pixel_of_ink():
    """Squares are separate: ink at the edge of a square does not join ink in the next square."""
    mask = np.zeros((2, 4), dtype=bool)
    mask[0, 1:3] = True
    edges = set(re.findall(r"M(\d+),(\d+)([hv])(\d+)", outline(mask, 2)))
    left = {("1", "0", "h", "1"), ("1", "1", "h", "1"), ("1", "0", "v", "1"), ("2", "0", "v", "1")}
    right = {("2", "0", "h", "1"), ("2", "1", "h", "1"), ("2", "0", "v", "1"), ("3", "0", "v", "1")}
    assert edges == left | right
    assert outline(np.zeros((2, 4), dtype=bool), 2) == ""
