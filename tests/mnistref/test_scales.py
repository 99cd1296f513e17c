"""Scales in integers, and the sides that they give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistref.rendering.scene import side_of
from mnistref.scales import SCALE_BITS, scale_units, side_at


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Compile before the first example, which has a deadline."""
    side_of(5, scale_units(1.0))


@given(st.floats(0.01, 8), st.sampled_from([5, 28]))
def test_the_side_is_the_one_that_the_renderer_draws(scale, base):
    assert side_at(base, scale) == side_of(base, scale_units(scale))
    assert abs(side_at(base, scale) - base * scale) <= 1
    rounded = scale_units(scale) / 2**SCALE_BITS
    assert np.float32(rounded) == rounded
    assert side_at(base, rounded) == int(base * rounded)


def test_a_scale_is_rounded_before_the_side_is():
    assert int(5 * 0.2) == 1
    assert side_at(5, 0.2) == 0  # 0.2 is rounded down
    assert int(28 * 3.57142857) == 99
    assert side_at(28, 3.57142857) == 100  # rounded up
