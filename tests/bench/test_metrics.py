"""The measures against values worked by hand."""

import pytest
import torch
from torchmetrics.functional import accuracy as oracle_accuracy

from bench.metrics import (
    accuracy_per_scale,
    attended,
    mask_area,
    mask_correctness,
    pointing_game,
    true_positive_ratio,
)


def as_map(rows) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.float32).unsqueeze(0)


LEFT = torch.tensor([[[True, False], [True, False]]])


def test_one_map_of_the_images_size():
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
    """[0, 1] over four columns is 0, ¼, ¾, 1; over two rows alike."""
    product = attended([as_map([[0.0, 1.0]])], (2, 4))
    torch.testing.assert_close(product, torch.tensor([[0.0, 0.25, 0.75, 1.0]] * 2).unsqueeze(0) / 4)
    target = torch.tensor([[[False, True, True, False], [False, False, False, True]]])
    torch.testing.assert_close(
        mask_correctness([as_map([[0.0, 1.0]])], target), torch.tensor([(0.25 + 0.75 + 1.0) / 4])
    )


def test_maps_of_several_sizes_and_images():
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


def test_tiny_maps_do_not_vanish_in_the_product():
    tiny = as_map([[1e-20, 3e-20], [2e-20, 2e-20]])
    torch.testing.assert_close(mask_correctness([tiny] * 4, LEFT), torch.tensor([(1 + 16) / (1 + 81 + 16 + 16)]))


def test_half_precision_maps_are_measured_in_single():
    mask = as_map([[0.5, 0.25], [0.25, 0.0]])
    torch.testing.assert_close(mask_correctness([mask.bfloat16()], LEFT), mask_correctness([mask], LEFT))


@pytest.mark.parametrize("measure", [mask_correctness, true_positive_ratio, pointing_game])
def test_no_maps_is_an_error(measure):
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
