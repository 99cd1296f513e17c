"""Definitions of mask correctness: values that are known in advance."""

import pytest
import torch

from bench.data.loading import load_split
from bench.metrics import mask_area, mask_correctness
from bench.model import create_model
from tests.perf.mask_readings import accuracies_with_changed_maps, best_position, boxes, mean_readings, readings


@pytest.fixture
def target() -> torch.Tensor:
    drawn = torch.zeros(2, 20, 20, dtype=torch.bool)
    drawn[0, 3:9, 4] = drawn[0, 5, 4:8] = True
    drawn[1, 12:14, 2:19:3] = True
    return drawn


def test_a_box_is_the_smallest_rectangle(target):
    box = boxes(target)
    assert box.sum((1, 2)).tolist() == [6 * 4, 2 * 16]
    assert not (target & ~box).any()


def test_readings_of_uniform_maps_are_areas(target):
    maps = [torch.full((2, 1, side, side), 0.3) for side in (10, 5)]
    found = readings(maps, target)
    areas = mask_area(target)
    for name in ("mask correctness", "product squared", "map 1 alone", "map 2 alone", "uniform map"):
        torch.testing.assert_close(found[name], areas.double(), check_dtype=False)
    torch.testing.assert_close(found["on the digit's box"], found["on the box, uniform map"])
    torch.testing.assert_close(found["on the positions that the digit touches"], found["on the positions, uniform map"])


def test_maps_that_are_zero_everywhere_count_as_uniform(target):
    maps = [torch.zeros(2, 1, 10, 10)]
    torch.testing.assert_close(readings(maps, target)["mask correctness"], target.double().mean((1, 2)))


def test_the_first_reading_is_mask_correctness(target):
    maps = list(torch.rand(3, 2, 1, 5, 5, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(
        readings(maps, target)["mask correctness"], mask_correctness(maps, target).double(), rtol=1e-5, atol=1e-7
    )


def test_no_map_is_better_than_the_best_position(target):
    best = best_position(target, 5, 5)
    maps = torch.rand(500, 1, 1, 5, 5, generator=torch.Generator().manual_seed(0)) ** 8
    for one in maps:
        assert (mask_correctness([one.expand(2, 1, 5, 5)], target) <= best + 1e-9).all()
    shares = [
        mask_correctness([single.view(1, 1, 5, 5).expand(2, 1, 5, 5)], target).double() for single in torch.eye(25)
    ]
    torch.testing.assert_close(torch.stack(shares).amax(0), best, rtol=1e-5, atol=1e-7)


def test_changed_maps_change_answers_and_the_network_is_restored(mini):
    torch.manual_seed(0)
    model = create_model("pan", "mini").eval()
    split = load_split(mini, "test", "one", torch.device("cpu"), masks=True)
    before = mean_readings(model, split, 30)
    found = accuracies_with_changed_maps(model, split, 30)
    assert len(found) == 2 * len(model.gates)
    assert mean_readings(model, split, 30) == before


def test_gates_without_scores_have_no_changed_accuracy(mini):
    model = create_model("stn-m", "mini").eval()
    split = load_split(mini, "test", "one", torch.device("cpu"), masks=True)
    assert accuracies_with_changed_maps(model, split, 2) == {}


def test_a_constant_map_changes_nothing_when_it_is_replaced_by_its_mean(mini):
    model = create_model("pan", "mini").eval()
    split = load_split(mini, "test", "one", torch.device("cpu"), masks=True)
    for gate in model.gates.values():
        for parameter in gate.attend.parameters():
            torch.nn.init.zeros_(parameter)
    changed = accuracies_with_changed_maps(model, split, 50)
    assert set(changed.values()) == {mean_readings(model, split, 50)["accuracy"]}
