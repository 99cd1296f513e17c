"""For any arguments, a metric is in the documented range, or raises a ValueError that names a remedy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench import metrics
from mnistref.spec import SCALE_BINS

ADVICE = ("pass ", "leave ")
"""Beginnings of the part of a message that names a remedy."""
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 255.0, 1e-42, 1e30, 3e38, math.nan, math.inf, -math.inf]
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int64, torch.bool]
NUMPY_TYPES = ["?", "u1", "i1", "i8", "u8", ">f4", "f2", "f8", "c8", "U3", "S2", "M8[s]", "O", "f4,i2"]


@st.composite
def tensors(draw, shape: tuple[int, ...] | None = None, numbers: tuple[float, ...] = tuple(NUMBERS)) -> torch.Tensor:
    """Draw tensors of several types and layouts, with few different numbers."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=5))) if shape is None else shape
    few = draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=3))
    kind = draw(st.sampled_from(TYPES))
    flat = torch.tensor([few[k % len(few)] for k in range(math.prod(shape))], dtype=torch.float64)
    tensor = (flat if kind.is_floating_point else flat.nan_to_num(0).clamp(-9, 255)).view(shape).to(kind)
    return draw(st.sampled_from([tensor, tensor, tensor, tensor.to_sparse() if tensor.ndim else tensor]))


arrays = hnp.arrays(st.sampled_from(NUMPY_TYPES), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.complex_numbers(), st.text(max_size=3), st.binary()
)
anything = st.one_of(
    scalars,
    tensors(),
    arrays,
    st.lists(st.one_of(scalars, tensors(), arrays), max_size=3),
    st.dictionaries(st.text(max_size=2), scalars, max_size=2),
    st.builds(object),
    st.builds(lambda: torch.zeros(2, 1, 3, 3, device="meta")),
    st.builds(lambda: np.ma.masked_equal(np.ones((2, 3, 3)), 1)),
    st.builds(lambda: range(3)),
)
powers = st.one_of(st.just(1.0), st.sampled_from([0.5, 2, 1e-3, 1e3, 5e-324, 1e308]), anything)


@st.composite
def maps_and_targets(draw) -> tuple[Any, Any]:
    """Draw maps and targets: mostly of matching shapes and valid values, sometimes arbitrary."""
    if draw(st.integers(0, 3)) == 0:
        return draw(anything), draw(anything)
    images, height, width = draw(st.integers(0, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    allowed = tuple(number for number in NUMBERS if number >= 0 and number < math.inf)
    shapes = [
        (images, 1, draw(st.integers(1, height)), draw(st.integers(1, width))) for _ in range(draw(st.integers(1, 3)))
    ]
    numbers = draw(st.sampled_from([allowed, allowed, tuple(NUMBERS)]))
    target = draw(st.one_of(tensors((images, height, width), (0.0, 1.0)), tensors((images, 1, height, width))))
    return [draw(tensors(shape, numbers)) for shape in shapes], target


def result_of(metric: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a metric; None if it raises a ValueError with a helpful message."""
    try:
        return metric(*arguments)
    except ValueError as error:
        message = str(error)
        assert "\n" not in message
        assert any(word in message for word in ADVICE), message
        return None


def require_in_range(values: torch.Tensor, low: float, high: float) -> None:
    assert values.isfinite().all()
    assert ((values >= low) & (values <= high)).all()


@settings(max_examples=150, deadline=None)
@given(pair=maps_and_targets(), power=powers)
@pytest.mark.parametrize("metric", [metrics.mask_correctness, metrics.true_positive_ratio, metrics.pointing_game])
def test_shares_of_maps_on_targets_are_in_0_to_1(metric, pair, power):
    found = result_of(metric, *pair, power)
    if found is not None:
        assert found.ndim == 1
        require_in_range(found, 0, 1)
        assert metric is not metrics.pointing_game or ((found == 0) | (found == 1)).all()


@settings(max_examples=150, deadline=None)
@given(pair=maps_and_targets(), size=st.one_of(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), anything))
def test_attended_map_sums_to_1(pair, size):
    for power in (1.0, 0.5):
        found = result_of(metrics.attended, pair[0], size, power)
        if found is not None:
            assert found.shape[1:] == tuple(int(side) for side in size)
            require_in_range(found, 0, 1 + 1e-6)
            assert ((found.sum((1, 2)) - 1).abs() < 1e-4).all()


@settings(max_examples=150, deadline=None)
@given(target=st.one_of(anything, maps_and_targets().map(lambda pair: pair[1])))
def test_mask_area_is_in_0_to_1(target):
    found = result_of(metrics.mask_area, target)
    if found is not None:
        assert found.ndim == 1
        require_in_range(found, 0, 1)


@settings(max_examples=150, deadline=None)
@given(pair=maps_and_targets(), power=powers, points=st.one_of(st.integers(-1, 5), anything))
def test_precision_and_recall_are_in_0_to_1(pair, power, points):
    histogram = result_of(metrics.score_histogram, *pair, power)
    if histogram is None:
        return
    assert histogram.shape == (2, metrics.BINS)
    require_in_range(histogram, 0, 2**40)
    curve = result_of(metrics.precision_recall, histogram, points)
    if curve is not None:
        require_in_range(curve.recall, 0, 1)
        require_in_range(curve.precision, 0, 1)
        assert 0 <= curve.area <= 1


@settings(max_examples=150, deadline=None)
@given(histogram=st.one_of(anything, tensors((2, 4)), arrays), points=st.one_of(st.just(5), anything))
def test_precision_and_recall_of_any_histogram_are_in_0_to_1(histogram, points):
    curve = result_of(metrics.precision_recall, histogram, points)
    if curve is not None:
        require_in_range(curve.precision, 0, 1)
        assert 0 <= curve.area <= 1


@settings(max_examples=150, deadline=None)
@given(scale=anything)
def test_scale_bin_is_a_valid_bin_or_none(scale):
    found = result_of(metrics.scale_bin, scale)
    if found is not None:
        require_in_range(found, -1, len(SCALE_BINS) - 1)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), count=st.integers(0, 4))
def test_accuracies_per_scale_are_in_0_to_1_and_count_every_question(data, count):
    correct = data.draw(st.one_of(anything, tensors((count,), (0.0, 1.0)), st.lists(st.booleans(), max_size=4)))
    scale = data.draw(
        st.one_of(anything, tensors((count,), (0.5, 1.0, 3.0)), st.lists(st.floats(0.4, 3.1), max_size=4))
    )
    found = result_of(metrics.accuracy_per_scale, correct, scale)
    if found is not None:
        assert sum(number for _, number in found.values()) == len(correct)
        assert all(value is None if not number else 0 <= value <= 1 for value, number in found.values())


def test_rounding_does_not_move_measures_out_of_range():
    """The sum of a normalised map of many pixels is not exactly 1 in single precision."""
    generator = torch.Generator().manual_seed(0)
    target = torch.ones(64, 37, 41, dtype=torch.bool)
    maps = torch.rand(64, 1, 37, 41, generator=generator)
    assert (metrics.attended([maps], (37, 41)).sum((1, 2)) > 1).any()
    for metric in (metrics.mask_correctness, metrics.true_positive_ratio):
        assert metric([maps], target).max() <= 1


FOOLS = {
    "a signed map": lambda perfect: [2 * perfect - 1],
    "a map of NaN": lambda perfect: [perfect * math.nan],
    "a map with one NaN": lambda perfect: [perfect.index_fill(3, torch.tensor([0]), math.nan)],
    "a map with infinity": lambda perfect: [perfect / 0],
    "an image missing": lambda perfect: [perfect[:1]],
    "several channels": lambda perfect: [perfect.expand(2, 3, 8, 8)],
    "a larger map": lambda perfect: [perfect.repeat(1, 1, 2, 2)],
    "no map": lambda perfect: [],
    "a slot without a map": lambda perfect: [None, perfect],
}


@pytest.mark.parametrize("kind", FOOLS)
def test_a_perfect_map_that_is_written_wrongly_is_refused(kind):
    target = torch.zeros(2, 8, 8, dtype=torch.bool)
    target[:, 2:5, 3:6] = True
    perfect = target[:, None].float()
    for metric in (metrics.mask_correctness, metrics.pointing_game, metrics.true_positive_ratio):
        assert metric([perfect], target).tolist() == [1.0, 1.0]
        assert result_of(metric, FOOLS[kind](perfect), target) is None
