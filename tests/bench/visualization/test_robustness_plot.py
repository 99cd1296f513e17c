"""The curve of tests on other data sets."""

import pytest

pytest.importorskip("matplotlib")
from bench.visualization.robustness_plot import find_factor


def test_the_axis_of_the_curve_is_the_one_factor_that_varies():
    own = {"variant": "mini", "scales": [0.5, 1.0], "digits_per_image": [2, 4], "canvas": 48, "seed": 0}
    own |= {"digits": "mnist", "backgrounds": None, "pool": "disjoint"}
    small, large = {**own, "scales": [0.5, 0.5]}, {**own, "scales": [1.0, 1.0]}
    assert find_factor([small, large], own) == "scales"
    assert find_factor([{**small, "canvas": 60}, {**large, "canvas": 60}], own) == "scales"
    assert find_factor([small, {**large, "canvas": 60}], own) is None
    assert find_factor([small], own) == "scales"
    assert find_factor([own], own) is None
