"""Measures of maps: regions, the uniform map, and maps that cannot be measured."""

import pytest
import torch

from bench.attribution.measures import (
    AREAS,
    AVERAGE_PRECISION,
    IOU,
    ON_BACKGROUND,
    ON_OTHERS,
    RANK_ACCURACY,
    measure_map,
    normalize,
    region_areas,
)
from bench.evaluation.columns import MASK_CORRECTNESS, POINTING


def test_maps_that_cannot_be_measured_are_refused():
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(ValueError, match="negative or not finite"):
            normalize(torch.full((1, 2, 2), value), (4, 4))


def regions() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the target, 2 × 3 pixels, and the other digits, 4 pixels, of one image of 5 × 7 pixels."""
    target, others = torch.zeros(2, 1, 5, 7, dtype=torch.bool)
    target[:, 1:3, 2:5], others[:, 4, 3:] = True, True
    return target, others


def test_areas_are_the_shares_of_the_three_regions():
    areas = region_areas(*regions())
    assert list(areas) == list(AREAS)
    assert [float(area) for area in areas.values()] == pytest.approx([6 / 35, 4 / 35, 25 / 35])


def test_the_uniform_map_has_the_areas_of_the_regions():
    target, others = regions()
    found = measure_map(torch.full((1, 5, 7), 1 / 35), target, others)
    assert float(found[MASK_CORRECTNESS]) == pytest.approx(6 / 35)
    assert float(found[ON_OTHERS]) == pytest.approx(4 / 35)
    assert float(found[ON_BACKGROUND]) == pytest.approx(25 / 35)


def test_the_target_as_a_map_has_the_best_values():
    target, others = regions()
    found = measure_map(target / 6, target, others)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {
            **dict.fromkeys((MASK_CORRECTNESS, POINTING, AVERAGE_PRECISION, RANK_ACCURACY, IOU), 1.0),
            **dict.fromkeys((ON_OTHERS, ON_BACKGROUND), 0.0),
        }
    )


def test_normalised_maps_have_the_size_of_the_image_and_sum_to_1():
    maps = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0))
    maps[1] = 0
    whole = normalize(maps, (8, 12))
    assert whole.shape == (3, 8, 12)
    torch.testing.assert_close(whole.sum((1, 2)), torch.ones(3))
    torch.testing.assert_close(whole[1], torch.full((8, 12), 1 / 96))
