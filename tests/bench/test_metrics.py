"""The measures compared with values worked by hand; for any arguments, they are in range or raise a ValueError."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, precision_recall_curve
from torchmetrics.functional import accuracy as oracle_accuracy

from bench import metrics
from bench.metrics import (
    accuracy_per_scale,
    attended,
    mask_area,
    mask_correctness,
    pointing_game,
    precision_recall,
    scale_bin,
    score_histogram,
    true_positive_ratio,
)
from mnistref.spec import SCALE_BINS


def as_map(rows) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.float32).unsqueeze(0)


LEFT = torch.tensor([[[True, False], [True, False]]])


def test_single_map_of_the_image_size_is_scored():
    masks = [as_map([[1.0, 3.0], [2.0, 2.0]])]
    torch.testing.assert_close(mask_correctness(masks, LEFT), torch.tensor([3 / 8]))
    torch.testing.assert_close(true_positive_ratio(masks, LEFT), torch.tensor([3 / 8]))
    assert pointing_game(masks, LEFT).tolist() == [0.0]
    assert pointing_game(masks, ~LEFT).tolist() == [1.0]


def test_maps_are_multiplied_and_the_product_normalised():
    masks = [as_map([[1.0, 0.5], [0.5, 0.5]]), as_map([[0.1, 0.2], [0.4, 0.3]])]
    # the product is .1 .1 .2 .15 of .55; the last map alone has .5 of 1.0 on the left
    torch.testing.assert_close(mask_correctness(masks, LEFT), torch.tensor([0.3 / 0.55]))
    torch.testing.assert_close(true_positive_ratio(masks, LEFT), torch.tensor([0.5]))


def test_small_maps_are_upsampled_bilinearly_without_aligned_corners():
    """[0, 1] upsampled to four columns is 0, ¼, ¾, 1; both rows are equal."""
    product = attended([as_map([[0.0, 1.0]])], (2, 4))
    torch.testing.assert_close(product, torch.tensor([[0.0, 0.25, 0.75, 1.0]] * 2).unsqueeze(0) / 4)
    target = torch.tensor([[[False, True, True, False], [False, False, False, True]]])
    torch.testing.assert_close(
        mask_correctness([as_map([[0.0, 1.0]])], target), torch.tensor([(0.25 + 0.75 + 1.0) / 4])
    )


def test_maps_of_several_sizes_and_images_are_scored():
    masks = [torch.ones(2, 1, 4, 4), torch.cat([as_map([[1.0]]), as_map([[9.0]])])]
    target = torch.zeros(2, 4, 4, dtype=torch.bool)
    target[0, 0], target[1, :2] = True, True
    torch.testing.assert_close(mask_correctness(masks, target), torch.tensor([0.25, 0.5]))
    torch.testing.assert_close(mask_area(target), torch.tensor([0.25, 0.5]))


def test_the_uniform_map_scores_the_area():
    target = torch.rand(5, 20, 30, generator=torch.Generator().manual_seed(0)) < 0.1
    for masks in ([torch.full((5, 1, 3, 3), 0.3)], [torch.ones(5, 1, 7, 2), torch.full((5, 1, 1, 1), 1e-30)]):
        torch.testing.assert_close(mask_correctness(masks, target), mask_area(target))


def test_an_all_zero_product_counts_as_uniform():
    torch.testing.assert_close(mask_correctness([as_map([[0.0, 0.0], [0.0, 0.0]])], LEFT), torch.tensor([0.5]))
    disjoint = [as_map([[1.0, 0.0], [0.0, 0.0]]), as_map([[0.0, 1.0], [1.0, 1.0]])]
    torch.testing.assert_close(mask_correctness(disjoint, LEFT), torch.tensor([0.5]))


def test_tiny_values_do_not_underflow_in_the_product():
    tiny = as_map([[1e-20, 3e-20], [2e-20, 2e-20]])
    torch.testing.assert_close(mask_correctness([tiny] * 4, LEFT), torch.tensor([(1 + 16) / (1 + 81 + 16 + 16)]))


def test_half_precision_maps_are_scored_in_single_precision():
    mask = as_map([[0.5, 0.25], [0.25, 0.0]])
    torch.testing.assert_close(mask_correctness([mask.bfloat16()], LEFT), mask_correctness([mask], LEFT))


@pytest.mark.parametrize("measure", [mask_correctness, true_positive_ratio, pointing_game])
def test_empty_list_of_maps_is_an_error(measure):
    with pytest.raises(ValueError, match="no maps"):
        measure([], LEFT)


def test_accuracy_per_scale_bin_edges():
    scale = torch.tensor([0.5, 0.9999, 1.0, 1.4999, 1.5, 2.0, 2.4999, 2.5, 2.9999, 3.0])
    correct = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1, 1, 0], dtype=torch.bool)
    expected = {
        "0.5_1.0": (0.5, 2),
        "1.0_1.5": (1.0, 2),
        "1.5_2.0": (0.0, 1),
        "2.0_2.5": (0.5, 2),
        "2.5_3.0": (pytest.approx(2 / 3), 3),
    }
    assert accuracy_per_scale(correct, scale) == expected


def test_an_empty_bin_has_no_accuracy():
    assert accuracy_per_scale(torch.tensor([True]), torch.tensor([0.7]))["2.5_3.0"] == (None, 0)


def test_bins_agree_with_torchmetrics():
    generator = torch.Generator().manual_seed(3)
    scale = torch.rand(500, generator=generator) * 2.5 + 0.5
    guess, label = (torch.randint(5, (500,), generator=generator) for _ in range(2))
    for name, (share, n) in accuracy_per_scale(guess == label, scale).items():
        low, high = map(float, name.split("_"))
        inside = (scale >= low) & (scale < high)
        assert n == int(inside.sum())
        assert share == pytest.approx(float(oracle_accuracy(guess[inside], label[inside], "multiclass", num_classes=5)))


def test_precision_and_recall_worked_by_hand():
    """Scores are .4 .3 .2 .1, the first and third on the digit: precision is 1, ½, ⅔, ½ at recall ½, ½, 1, 1."""
    counts = score_histogram([as_map([[0.4, 0.3], [0.2, 0.1]])], LEFT)
    curve = precision_recall(counts, points=5)
    assert curve.recall.tolist() == [0, 0.25, 0.5, 0.75, 1]
    torch.testing.assert_close(curve.precision, torch.tensor([1, 1, 1, 2 / 3, 2 / 3], dtype=torch.float64))
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("power", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize(("maps", "low"), [(3, 1e-24), (2, 1e-38), (9, 1e-30), (5, 1e-44), (2, 0.3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_of_any_magnitude_equals_double_precision(dtype, maps, low, power):
    """Each map is 1 at another pixel. Relative to the product there, the other pixels have `low` to the power."""
    masks = [torch.full((1, 1, 6, 8), low, dtype=dtype) for _ in range(maps)]
    for k, mask in enumerate(masks):
        mask[0, 0, k // 8, k % 8] = 1
    ordinary = torch.full((1, 1, 6, 8), 0.25)  # another image of the batch does not change
    target = torch.zeros(2, 6, 8, dtype=torch.bool)
    target[:, 0, :2] = True
    weight = float(masks[0][0, 0, -1, -1]) ** power
    true = 2 / (maps + (48 - maps) * weight)
    found = mask_correctness([torch.cat([mask, ordinary.to(dtype)]) for mask in masks], target, power)
    torch.testing.assert_close(found, torch.tensor([true, 2 / 48]), rtol=2e-5, atol=0)


def test_small_numbers_of_double_precision_are_not_lost():
    low = torch.full((1, 1, 2, 2), 1e-200, dtype=torch.float64)
    first, second = low.clone(), low.clone()
    first[0, 0, 0, 0] = second[0, 0, 1, 0] = 1
    torch.testing.assert_close(mask_correctness([first, second], LEFT), torch.tensor([1.0]))


def test_a_uniform_map_has_the_area_as_precision():
    target = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0)) < 0.2
    curve = precision_recall(score_histogram([torch.ones(3, 1, 2, 2)], target))
    area = float(mask_area(target).mean())
    assert curve.area == pytest.approx(area)
    assert curve.precision.tolist() == pytest.approx([area] * 101)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_precision_recall_curve_equals_scikit_learn(power):
    """The images are in several batches, with scores from 1 to 1e-30."""
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(12, 16, 16, generator=generator) < 0.1
    sharp = torch.rand(12, 1, 16, 16, generator=generator) ** 60
    masks = [sharp + 0.05 * target.unsqueeze(1) * torch.rand(12, 1, 16, 16, generator=generator)]
    counts = sum(score_histogram([masks[0][k : k + 5]], target[k : k + 5], power) for k in (0, 5, 10))
    assert int(counts.sum()) == 12 * 16 * 16
    curve = precision_recall(counts)
    scores = attended(masks, (16, 16), power).flatten().numpy()
    truth = target.flatten().numpy()
    assert curve.area == pytest.approx(average_precision_score(truth, scores), abs=2e-4)
    precision, recall, _ = precision_recall_curve(truth, scores)
    for wanted, found in zip(curve.recall.tolist(), curve.precision.tolist(), strict=True):
        highest = max(k for k, reached in enumerate(recall) if reached >= wanted)
        if wanted:
            assert found == pytest.approx(precision[highest], abs=0.02)


def test_recall_is_undefined_without_target_pixels():
    with pytest.raises(ValueError, match="undefined"):
        precision_recall(score_histogram([torch.ones(1, 1, 2, 2)], torch.zeros(1, 2, 2, dtype=torch.bool)))


def test_every_scale_lies_in_one_bin():
    scale = torch.tensor([0.49, 0.5, 0.99, 1.0, 1.5, 2.499, 2.5, 3.0, 3.01])
    assert scale_bin(scale).tolist() == [-1, 0, 0, 1, 2, 3, 4, 4, -1]


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
