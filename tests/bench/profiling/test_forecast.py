"""The estimated time of a training before it starts."""

from dataclasses import replace

import pytest
import torch

from bench.attention import resolve_network
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, RECIPES
from bench.profiling import forecast
from mnistref.variants import get_variant

CPU = ComputeConfig(torch.device("cpu"))


def test_estimated_time_of_a_step_is_proportional_to_its_images(monkeypatch):
    network, variant = resolve_network("san", DEFAULT_WIDTH), get_variant("mini")
    clock = iter(range(100))
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: next(clock))
    for batch, seconds in ((2, 1.0), (4, 1.0), (32, 8.0)):
        recipe = replace(RECIPES["fast"], batch=batch)
        assert forecast.estimate_step_seconds(network, variant, recipe, CPU) == seconds


def test_a_gpu_measures_the_whole_step():
    recipe = replace(RECIPES["fast"], batch=32)
    assert [forecast.images_in_measured_step(recipe, device) for device in ("cpu", "cuda")] == [4, 32]


def test_forecast_restores_random_generator_and_threads():
    network, variant = resolve_network("pan", DEFAULT_WIDTH), get_variant("mini")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    assert forecast.estimate_step_seconds(network, variant, RECIPES["fast"], CPU, threads=2) > 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("questions", "mean"), [("one", 1), ("all", 7), (3, 3)])
def test_mean_number_of_questions_per_image(questions, mean):
    assert forecast.mean_questions(replace(RECIPES["fast"], questions=questions), get_variant("mref")) == mean
