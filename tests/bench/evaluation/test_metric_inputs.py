"""Measures of unusual arguments: an unambiguous argument is converted, and any other raises an error."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from bench import metrics
from bench.evaluation import unchecked_metrics
from bench.metrics import (
    BINS,
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

OF_MAPS = (mask_correctness, true_positive_ratio, pointing_game, score_histogram)
GENERATOR = torch.Generator().manual_seed(0)
MAPS = [torch.rand(3, 1, 6, 5, generator=GENERATOR), torch.rand(3, 1, 3, 3, generator=GENERATOR)]
TARGET = torch.zeros(3, 12, 10, dtype=torch.bool)
TARGET[0, :6], TARGET[1, 4:9, 3:8], TARGET[2, 11, 9] = True, True, True

TARGETS = {
    "(B, 1, H, W)": TARGET[:, None],
    "0 and 1, u1": TARGET.to(torch.uint8),
    "0 and 255, u1": TARGET.to(torch.uint8) * 255,
    "0 and 255, (B, 1, H, W)": TARGET[:, None].to(torch.uint8) * 255,
    "i1": TARGET.to(torch.int8),
    "i8": TARGET.long() * 255,
    "u2": TARGET.to(torch.uint16),
    "f2": TARGET.half() * 255,
    "bf16": TARGET.bfloat16(),
    "f4": TARGET.float(),
    "f8": TARGET.double() * 255,
    "float8": TARGET.float().to(torch.float8_e5m2),
    "with a gradient": TARGET.float().requires_grad_(),
    "sparse": TARGET.float().to_sparse(),
    "of torchvision": tv_tensors.Mask(TARGET),
    "NumPy": TARGET.numpy(),
    "NumPy, u1": TARGET.numpy().astype(np.uint8) * 255,
    "NumPy, u2": TARGET.numpy().astype(np.uint16) * 255,
    "NumPy, u8": TARGET.numpy().astype(np.uint64),
    "NumPy, other byte order": TARGET.numpy().astype(">i4"),
    "NumPy, upside down": TARGET.flip(1).numpy()[:, ::-1],
    "NumPy, f2": TARGET.numpy().astype(np.float16),
    "a list": list(TARGET),
    "a list of arrays": list(TARGET.numpy()),
}


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


SAME_MAPS = {
    "(B, h, w)": [mask.squeeze(1) for mask in MAPS],
    "a tuple": tuple(MAPS),
    "f8": [mask.double() for mask in MAPS],
    "NumPy": [mask.numpy() for mask in MAPS],
    "NumPy, f8": [mask.numpy().astype(np.float64) for mask in MAPS],
    "read only": [read_only(mask.numpy()) for mask in MAPS],
    "NumPy, other byte order": [mask.numpy().astype(">f4") for mask in MAPS],
    "both kinds": [MAPS[0].numpy(), MAPS[1]],
    "with a gradient": [mask.clone().requires_grad_() for mask in MAPS],
    "tiny, f8": [mask.double() * 1e-200 for mask in MAPS],
    "huge, f8": [mask.double() * 1e200 for mask in MAPS],
    "huge, f4": [mask * 1e38 for mask in MAPS],
    "with -0.0": [torch.where(mask == 0, -0.0, mask) for mask in MAPS],
}


@pytest.mark.parametrize("measure", OF_MAPS)
@pytest.mark.parametrize("kind", TARGETS)
def test_equivalent_targets_give_equal_measures(kind, measure):
    assert torch.equal(measure(MAPS, TARGETS[kind]), measure(MAPS, TARGET))
    assert torch.equal(mask_area(TARGETS[kind]), TARGET.float().mean((1, 2)))


@pytest.mark.parametrize("measure", OF_MAPS)
@pytest.mark.parametrize("kind", SAME_MAPS)
def test_equivalent_maps_give_equal_measures(kind, measure):
    right, found = measure(MAPS, TARGET), measure(SAME_MAPS[kind], TARGET)
    if kind.startswith(("tiny", "huge")):
        found, right = found.double(), right.double()
        assert measure is score_histogram or torch.allclose(found, right, atol=1e-6)
        assert found.sum() == pytest.approx(float(right.sum()), rel=1e-5)
    else:
        assert torch.equal(found.detach(), right)


def test_maps_may_be_integers_booleans_or_half_precision():
    whole = torch.tensor([[[[0, 2], [1, 1]]]])
    target = torch.tensor([[[False, True], [False, False]]])
    for mask in (whole, whole.to(torch.uint8), whole.numpy().astype(np.int16), whole.half(), whole.bfloat16()):
        assert mask_correctness([mask], target).tolist() == [0.5]
    assert mask_correctness([whole > 1], target).tolist() == [1.0]


def test_single_tensor_is_one_map_if_the_shape_is_unambiguous():
    one, two = MAPS
    for alone in (one, one.squeeze(1), one.numpy(), tv_tensors.Mask(one)):
        assert torch.equal(mask_correctness(alone, TARGET), mask_correctness([one], TARGET))
        assert torch.equal(attended(alone, (12, 10)), attended([one], (12, 10)))
    stacked = torch.stack([one, one**2])
    assert torch.equal(mask_correctness(stacked, TARGET), mask_correctness([one, one**2], TARGET))
    for odd in (torch.cat([one, one], 1), one[None, :, 0]):
        with pytest.raises(ValueError, match=r"pass a list of maps|pass the maps of all images in one array"):
            mask_correctness(odd, TARGET)
    assert two.shape != one.shape


def test_single_image_needs_no_batch_dimension():
    alone = mask_correctness([mask[1:2] for mask in MAPS], TARGET[1])
    assert torch.equal(alone, mask_correctness(MAPS, TARGET)[1:2])
    assert torch.equal(mask_correctness([mask[1, 0] for mask in MAPS], TARGET[1]), alone)
    assert torch.equal(mask_correctness([mask[1] for mask in MAPS], Image.fromarray(TARGET[1].numpy())), alone)
    assert mask_area(TARGET[0]).tolist() == [0.5]
    with pytest.raises(ValueError, match="pass one mask per image"):
        mask_correctness(MAPS, TARGET[1])


def nan_at(*at: int, value: float = math.nan) -> list[torch.Tensor]:
    masks = [mask.clone() for mask in MAPS]
    for k in at:
        masks[1][k, 0, 1, 1] = value
    return masks


INSTANCE = torch.arange(3 * 12 * 10).view(3, 12, 10) % 10
BAD = {
    "other numbers of images": (MAPS, torch.cat([TARGET, TARGET[:1]]), r"4 targets for maps of 3 images"),
    "fewer targets": (MAPS, TARGET[:1], r"1 targets for maps of 3 images"),
    "maps of other images": ([MAPS[0], MAPS[1][:2]], TARGET, r"map 2 has 2 images and map 1 has 3"),
    "an instance map": (MAPS, INSTANCE, r"instance == slot \+ 1"),
    "a soft mask": (MAPS, TARGET.float() * 0.7, r"mask > 0.5"),
    "0, 1 and 255": (MAPS, TARGET.int() * torch.tensor([1, 255, 255])[:, None, None], r"0 and 1, or 0 and 255"),
    "-1 in a byte": (MAPS, -TARGET.to(torch.int8), r"0 and 1, or 0 and 255"),
    "0 and -1": (MAPS, -TARGET.long(), r"0 and 1, or 0 and 255"),
    "a target of NaN": (MAPS, TARGET.float() * math.nan, r"targets of 3 of 3 images contain NaN"),
    "a mask of each class": (MAPS, TARGET[:, None].expand(3, 4, 12, 10), r"shape \(3, 4, 12, 10\): pass one mask"),
    "a target of five dimensions": (MAPS, TARGET[:, None, None], r"pass one mask per image"),
    "a flat target": (MAPS, TARGET.flatten(), r"pass one mask per image"),
    "a target without pixels": (MAPS, TARGET[:, :, :0], r"has no pixels"),
    "words": (MAPS, [["ink"]], r"is not numeric"),
    "nothing": (MAPS, None, r"is not numeric"),
    "ragged": (MAPS, [[[1, 0], [1]]], r"is not an array"),
    "complex": (MAPS, TARGET * 1j, r"complex"),
    "an empty target": (MAPS, TARGET & (torch.arange(3) < 2)[:, None, None], r"1 of 3 targets have no pixel"),
    "maps of NaN": (nan_at(0, 2), TARGET, r"map 2: 2 of 3 images contain NaN or infinity"),
    "maps of infinity": (nan_at(1, value=math.inf), TARGET, r"map 2: 1 of 3 images contain NaN or infinity"),
    "maps of minus infinity": (nan_at(1, value=-math.inf), TARGET, r"map 2: 1 of 3 images contain NaN or infinity"),
    "maps below zero": (
        nan_at(1, value=-1e-9),
        TARGET,
        r"1 of 3 images have values below zero.*clamp_min\(0\).*abs\(\)",
    ),
    "integers below zero": ([MAPS[0].long() - 1], TARGET, r"3 of 3 images have values below zero"),
    "several channels": ([torch.rand(3, 4, 6, 5)], TARGET, r"4 channels"),
    "no channel": ([torch.rand(3, 0, 6, 5)], TARGET, r"0 channels"),
    "a map without pixels": ([torch.rand(3, 1, 0, 5)], TARGET, r"1 or more"),
    "maps of five dimensions": ([torch.rand(3, 1, 1, 6, 5)], TARGET, r"pass \(B, 1, h, w\)"),
    "a map of one dimension": ([torch.rand(3)], TARGET, r"pass \(B, 1, h, w\)"),
    "a map larger than the images": ([torch.rand(3, 1, 13, 5)], TARGET, r"map 1 is 13 × 5 and the images are 12 × 10"),
    "no maps": ([], TARGET, r"no maps"),
    "maps in a dictionary": ({"a": MAPS[0]}, TARGET, r"pass a list of maps"),
    "maps as words": ("maps", TARGET, r"pass a list of maps"),
    "a map of words": (["maps"], TARGET, r"is not numeric"),
    "complex maps": ([MAPS[0] * 1j], TARGET, r"abs\(\)"),
    "other shapes in a list": ([MAPS], TARGET, r"different shapes"),
}


@pytest.mark.parametrize("measure", OF_MAPS)
@pytest.mark.parametrize("kind", BAD)
def test_ambiguous_metric_arguments_are_errors_of_one_line(kind, measure):
    maps, target, message = BAD[kind]
    with pytest.raises(ValueError, match=message) as error:
        measure(maps, target)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("measure", [*OF_MAPS, attended])
@pytest.mark.parametrize("power", [0, -1, math.nan, math.inf, True, "1", None, torch.ones(2)])
def test_power_must_be_finite_and_positive(power, measure):
    with pytest.raises(ValueError, match="power"):
        measure(MAPS, (12, 10) if measure is attended else TARGET, power)
    for one in (1, np.float32(1), torch.ones(())):
        assert torch.equal(attended(MAPS, (12, 10), one), attended(MAPS, (12, 10)))


def test_high_power_leaves_only_the_peak():
    product = attended(
        [torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[[8.0, 7.0], [6.0, 5.0]]]])], (2, 2), 4000
    )
    assert product.flatten().tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "size",
    [
        (0, 10),
        (12, -1),
        (12, 10**6),
        (10**30, 10),
        (12,),
        (12, 10, 3),
        (12, 10.5, 10),
        12,
        "ab",
        (1.5, 2),
        (math.nan, 2),
        None,
    ],
)
def test_size_of_a_map_must_be_two_integers(size):
    with pytest.raises(ValueError, match="size"):
        attended(MAPS, size)


def test_empty_batch_gives_empty_measures():
    maps, target = [mask[:0] for mask in MAPS], TARGET[:0]
    for measure in (mask_correctness, true_positive_ratio, pointing_game):
        assert measure(maps, target).shape == (0,)
    assert score_histogram(maps, target).shape == (2, BINS)
    assert not score_histogram(maps, target).any()
    assert attended(maps, (12, 10)).shape == (0, 12, 10)
    assert mask_area(target).shape == (0,)
    assert scale_bin(torch.zeros(0)).shape == (0,)
    assert set(accuracy_per_scale(torch.zeros(0, dtype=torch.bool), torch.zeros(0)).values()) == {(None, 0)}
    with pytest.raises(ValueError, match="recall is undefined"):
        precision_recall(score_histogram(maps, target))
    with pytest.raises(ValueError, match="1 or more"):
        mask_correctness([torch.zeros(0, 1, 0, 4)], target)


def test_empty_target_has_area_zero():
    assert mask_area(torch.zeros(2, 4, 4)).tolist() == [0, 0]


def test_pointing_uses_the_first_of_equal_maxima():
    target = torch.zeros(1, 2, 3, dtype=torch.bool)
    target[0, 0, 2] = True
    for first, points in ((2, 1.0), (1, 0.0)):
        mask = torch.zeros(1, 1, 2, 3)
        mask[..., 0, first], mask[..., 1, 0] = 1, 1
        assert pointing_game([mask], target).tolist() == [points]
    assert pointing_game([torch.ones(1, 1, 2, 3)], target).tolist() == [0.0]


@pytest.mark.parametrize(
    ("histogram", "message"),
    [
        (torch.ones(3, 5), "shape"),
        (torch.ones(5), "shape"),
        (torch.ones(2, 0), "shape"),
        (torch.tensor([[1, -1], [2, 2]]), "counts"),
        (torch.tensor([[0.5, 1.0], [2.0, 2.0]]), "counts"),
        (torch.tensor([[math.nan, 1.0], [2.0, 2.0]]), "counts"),
        (torch.tensor([[math.inf, 1.0], [2.0, 2.0]]), "counts"),
        (torch.ones(2, 5, dtype=torch.bool), "counts"),
        (torch.tensor([[0, 0], [2, 2]]), "recall is undefined"),
        ("histogram", "not numeric"),
    ],
)
def test_histogram_must_hold_counts(histogram, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(histogram)


def test_type_of_a_histogram_does_not_change_the_curve():
    counts = score_histogram(MAPS, TARGET)
    for same in (counts.numpy(), counts.double(), counts.int()):
        assert precision_recall(same).area == precision_recall(counts).area
    for points in (1, 0, -3, 2.5, True, None, 10**12, 10**30):
        with pytest.raises(ValueError, match="points"):
            precision_recall(counts, points)


def test_type_of_scales_does_not_change_the_bins():
    for scale in (torch.tensor([1, 2, 3]), np.array([1.0, 2.0, 3.0]), [1, 2, 3], torch.tensor([1.0, 2, 3]).half()):
        assert scale_bin(scale).tolist() == [1, 3, 4]
    assert int(scale_bin(torch.tensor(0.7))) == 0
    with pytest.raises(ValueError, match="2 of 3 scales are NaN"):
        scale_bin(torch.tensor([math.nan, 1, math.inf]))


@pytest.mark.parametrize(
    ("correct", "scale", "message"),
    [
        ([True, False], [1.0], r"\(2,\) and scales of shape \(1,\)"),
        ([[True], [False]], [1.0, 2.0], r"one value per question"),
        ([True, False], [[1.0], [2.0]], r"one value per question"),
        ([0, 2], [1.0, 2.0], r"answer == label"),
        ([0.5, 1], [1.0, 2.0], r"answer == label"),
        ([math.nan, 1], [1.0, 2.0], r"answer == label"),
        ([True, False], [1.0, math.nan], r"1 of 2 scales are NaN"),
        ([True, False], [0.4, 3.1], r"2 of 2 scales lie outside"),
        (["a", "b"], [1.0, 2.0], r"not numeric"),
    ],
)
def test_accuracy_per_scale_needs_an_answer_and_a_scale_per_question(correct, scale, message):
    with pytest.raises(ValueError, match=message):
        accuracy_per_scale(correct, scale)


def test_type_of_right_answers_does_not_change_accuracy_per_scale():
    right, scale = torch.tensor([True, False, True]), torch.tensor([0.6, 0.7, 2.6])
    wanted = accuracy_per_scale(right, scale)
    assert wanted["0.5_1.0"] == (0.5, 2)
    for same in (right.int(), right.float(), right.numpy(), right.tolist()):
        assert accuracy_per_scale(same, scale) == wanted
        assert accuracy_per_scale(same, scale.numpy()) == wanted


def test_every_public_metric_has_a_test_of_arbitrary_input():
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    tried = {f.__name__ for f in (*OF_MAPS, attended, mask_area, precision_recall, scale_bin, accuracy_per_scale)}
    assert functions == tried


sides = st.integers(1, 7)
VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, 255.0, 1e-42, 1e30, 3e38, math.nan, math.inf, -math.inf]


@st.composite
def arrays(draw, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    """Draw tensors of unusual types and values, and of unusual shapes unless one is given."""
    shape = draw(st.lists(st.integers(0, 4), min_size=0, max_size=5)) if shape is None else shape
    kind = draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool]))
    few = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3))
    flat = [few[k % len(few)] for k in range(math.prod(shape))]
    tensor = torch.tensor(flat, dtype=torch.float64).nan_to_num(0) if not kind.is_floating_point else torch.tensor(flat)
    return tensor.view(shape).to(kind)


@st.composite
def pairs(draw) -> tuple[object, torch.Tensor]:
    """Draw maps and targets; the shapes of half of them fit."""
    if draw(st.booleans()):
        return draw(st.one_of(arrays(), st.lists(arrays(), max_size=3))), draw(arrays())
    images, side = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    maps = [draw(arrays((images, 1, side, draw(st.integers(1, 4))))) for _ in range(draw(st.integers(1, 3)))]
    return maps, draw(arrays((images, 4, 4)))


@settings(max_examples=300, deadline=None)
@given(pair=pairs())
def test_arbitrary_maps_and_targets_are_measured_in_range_or_refused(pair):
    """The result is a ValueError or a finite share for every image."""
    masks, target = pair
    for measure in OF_MAPS:
        try:
            found = measure(masks, target)
        except ValueError:
            continue
        assert found.isfinite().all()
        assert found.min() >= 0 if found.numel() else True
        images = len(target) if target.ndim > 2 else 1
        if measure is score_histogram:
            assert int(found.sum()) == target.numel()
        else:
            assert found.shape == (images,)
            assert found.max() <= 1 + 1e-5 if images else True


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_argument_checks_do_not_change_measures(data):
    images, layers, power = (
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(1, 4)),
        data.draw(st.sampled_from([1.0, 0.5, 2])),
    )
    height, width = data.draw(st.integers(7, 20)), data.draw(st.integers(7, 20))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    sharp = data.draw(st.sampled_from([1, 30]))
    maps = [
        torch.rand(images, 1, data.draw(sides), data.draw(sides), generator=generator) ** sharp for _ in range(layers)
    ]
    target = torch.rand(images, height, width, generator=generator) < 0.3
    target[:, 0, 0] = True
    product = unchecked_metrics.attended(maps, (height, width), power)
    assert torch.equal(attended(maps, (height, width), power), product)
    assert torch.equal(mask_correctness(maps, target, power), unchecked_metrics.share_on(product, target).clamp(0, 1))
    assert torch.equal(pointing_game(maps, target, power), unchecked_metrics.peak_on(product, target))
    assert torch.equal(score_histogram(maps, target, power), unchecked_metrics.histogram_of(product, target))
