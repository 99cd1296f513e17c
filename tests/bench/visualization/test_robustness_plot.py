"""The curve of tests on other data sets."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from bench.visualization.robustness_plot import find_factor, unequal_ticks


def test_the_axis_of_the_curve_is_the_one_factor_that_varies():
    own = {"variant": "mini", "scales": [0.5, 1.0], "digits_per_image": [2, 4], "canvas": 48, "seed": 0}
    own |= {"digits": "mnist", "backgrounds": None, "pool": "disjoint"}
    small, large = {**own, "scales": [0.5, 0.5]}, {**own, "scales": [1.0, 1.0]}
    assert find_factor([small, large], own) == "scales"
    assert find_factor([{**small, "canvas": 60}, {**large, "canvas": 60}], own) == "scales"
    assert find_factor([small, {**large, "canvas": 60}], own) is None
    assert find_factor([small], own) == "scales"
    assert find_factor([own], own) is None


def test_ticks_are_the_values_of_the_factor_each_place_once():
    assert unequal_ticks(np.array([1.0, 0.5, 1.0]), ["0.5–1.5", "0.5", "1"]) == ([0.5, 1.0], ["0.5", "0.5–1.5\n1"])
    assert unequal_ticks(np.array([48.0]), ["48"]) == ([48.0], ["48"])
