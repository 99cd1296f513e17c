"""The measures compared with values worked by hand."""

import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve
from torchmetrics.functional import accuracy as oracle_accuracy

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
