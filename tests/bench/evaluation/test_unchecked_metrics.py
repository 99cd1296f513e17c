"""Measures without checks of their arguments."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evaluation.unchecked_metrics import BINS, attended, curve_of, peak_on


def test_precision_recall_curve_of_many_pixels_is_exact():
    """The sums of counts are too large for single precision."""
    counts = torch.zeros(2, BINS, dtype=torch.long)
    counts[0, 5], counts[0, 9], counts[1, 9] = 2**40, 1, 3
    _, precision, area = curve_of(counts)
    assert (float(precision[0]), float(precision[-1])) == (0.25, (2**40 + 1) / (2**40 + 4))
    assert area == pytest.approx((0.25 + 2**40 * (2**40 + 1) / (2**40 + 4)) / (2**40 + 1), rel=1e-14)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), size=st.tuples(st.integers(1, 60), st.integers(1, 60)), power=st.sampled_from([0.5, 1.0, 2.0]))
def test_constant_maps_are_uniform_and_point_nowhere(data, size, power):
    """Even if the whole image is the target. Upsampling alone would leave rounding errors with a maximum."""
    values = data.draw(st.lists(st.floats(0, 2.0**127, width=32), min_size=1, max_size=4))
    sides = [(data.draw(st.integers(1, size[0])), data.draw(st.integers(1, size[1]))) for _ in values]
    masks = [torch.full((2, 1, *side), value) for value, side in zip(values, sides, strict=True)]
    masks.append(torch.ones(2, 1, *size))
    masks[-1][1, 0, -1, -1] = 2  # the second image has a maximum, unless a map is zero or it has one pixel
    product, target = attended(masks, size, power), torch.ones(2, *size, dtype=torch.bool)
    has_maximum = all(values) and size != (1, 1)
    assert torch.equal(product[0], torch.full(size, 1 / (size[0] * size[1])))
    assert peak_on(product, target).tolist() == [0, float(has_maximum)]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 999), size=st.tuples(st.integers(2, 20), st.integers(1, 20)))
def test_a_map_that_is_not_constant_points_at_its_first_maximum(seed, size):
    generator = torch.Generator().manual_seed(seed)
    product = torch.randint(0, 3, (4, *size), generator=generator).float()
    product[:, 0, 0], product[:, -1, -1] = 0, 2
    target = torch.rand(4, *size, generator=generator) < 0.5
    first = [int((image.flatten() == 2).nonzero()[0]) for image in product]
    expected = [float(mask.flatten()[at]) for mask, at in zip(target, first, strict=True)]
    assert peak_on(product, target).tolist() == expected
