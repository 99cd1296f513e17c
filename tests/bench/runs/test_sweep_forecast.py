"""The estimated duration of a sweep before it starts."""

import logging
import re
from dataclasses import replace

import pytest
import torch

from bench.attention import resolve_network
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH, RECIPES
from bench.data.loading import load_split
from bench.runs import sweep_forecast
from bench.runs.configure import RunSettings
from bench.runs.sweep import SweepPlan
from tests.bench.attention.user_modules import GOOD, write_module


@pytest.fixture
def tasks(mini):
    networks = [resolve_network(name, DEFAULT_WIDTH) for name in ("san", "pan")]
    settings = RunSettings(RECIPES["fast"], "one", ComputeConfig(torch.device("cpu")))
    return SweepPlan(networks, [mini], 3, settings).build_tasks()


@pytest.fixture
def steps(monkeypatch):
    """Let a step of san take 10 s and of pan 30 s, and return the list of measured networks."""
    measured = []

    def estimate(network, *_, **__):
        measured.append(network.name)
        return {"san": 10.0, "pan": 30.0}[network.name]

    monkeypatch.setattr(sweep_forecast, "estimate_step_seconds", estimate)
    return measured


@pytest.mark.parametrize(
    ("counts", "images", "recipe", "expected"),
    [
        (
            (1, 1, 5),
            [100_000],
            "fast",
            "1 network × 1 data set × 5 seeds; each run has 100,000 training images and 3 epochs",
        ),
        (
            (2, 2, 1),
            [9, 400],
            "pan",
            "2 networks × 2 data sets × 1 seed; each run has 9 to 400 training images and up to",
        ),
    ],
)
def test_size_of_a_sweep_in_one_line(counts, images, recipe, expected):
    named = dict(zip(("network", "data set", "seed"), counts, strict=True))
    assert sweep_forecast.describe_size(named, images, RECIPES[recipe]).startswith(expected)


def test_forecast_is_the_time_of_all_runs_and_of_the_longest(tasks, steps, tmp_path, monkeypatch, caplog):
    """400 images are 12 steps of 32. With 3 epochs, 3 runs take 360 s and 3 take 1,080 s, two at a time."""
    monkeypatch.setattr(sweep_forecast, "MIN_IMAGES", 1)
    with caplog.at_level(logging.INFO):
        sweep_forecast.announce_duration(tasks, tmp_path, 2, None)
    first, line = [record.getMessage() for record in caplog.records]
    assert first == "6 runs; 2 at a time; an estimate of the time follows, from a step of each network"
    assert line.startswith("about 36 min of training for 6 runs, 2 at a time; the longest, ")
    assert line.endswith("pan seed 0, takes about 18 min")
    assert sorted(steps) == ["pan", "san"]


def test_sweep_takes_at_least_as_long_as_its_longest_run(tasks, steps, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sweep_forecast, "MIN_IMAGES", 1)
    with caplog.at_level(logging.INFO):
        sweep_forecast.announce_duration(tasks, tmp_path, 100, None)
    assert "about 18 min of training for 6 runs, 100 at a time" in caplog.text


def test_a_short_sweep_is_not_estimated(tasks, steps, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        sweep_forecast.announce_duration(tasks, tmp_path, 1, None)
    assert not steps
    assert [record.getMessage() for record in caplog.records] == ["6 runs; 1 at a time"]


def test_finished_runs_are_not_announced(tasks, steps, tmp_path, caplog, monkeypatch):
    done = {tmp_path / task.config.run_id for task in tasks[1:]}
    monkeypatch.setattr(sweep_forecast.records, "is_finished", done.__contains__)
    monkeypatch.setattr(sweep_forecast, "MIN_IMAGES", 1)
    with caplog.at_level(logging.INFO):
        sweep_forecast.announce_duration(tasks, tmp_path, None, None)
        done.add(tmp_path / tasks[0].config.run_id)
        sweep_forecast.announce_duration(tasks, tmp_path, 1, None)
    assert [record.getMessage() for record in caplog.records] == ["1 run of 6, the others are finished"]
    assert not steps


def test_an_error_of_the_estimate_does_not_end_the_sweep(tasks, tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sweep_forecast, "MIN_IMAGES", 1)
    monkeypatch.setattr(sweep_forecast, "estimate_step_seconds", fail)
    sweep_forecast.announce_duration(tasks, tmp_path, 1, None)
    for name in ("san", "pan"):
        assert f"the time of {name} on mini is not estimated: RuntimeError: out of memory" in caplog.text
    assert "of training for" not in caplog.text


BROKEN = """
class Broken(Own):
    def forward(self, x, query):
        raise LookupError("not here")
"""


def test_a_sweep_of_user_modules_alone_has_an_estimate(mini, tmp_path, monkeypatch, caplog):
    """A step of each module is measured in a child process. A module that fails is left out, and named."""
    path = write_module(tmp_path, GOOD + BROKEN)
    networks = [resolve_network(f"{path}:{name}", DEFAULT_WIDTH) for name in ("Own", "Broken")]
    settings = RunSettings(RECIPES["fast"], "one", ComputeConfig(torch.device("cpu")))
    monkeypatch.setattr(sweep_forecast, "MIN_IMAGES", 1)
    with caplog.at_level(logging.INFO):
        sweep_forecast.announce_duration(SweepPlan(networks, [mini], 2, settings).build_tasks(), tmp_path, 1, 1)
    first, failed, estimate = [record.getMessage() for record in caplog.records]
    assert first.endswith("an estimate of the time follows, from a step of each network")
    assert failed.startswith("the time of own.py:Broken#")
    assert failed.endswith("on mini is not estimated: LookupError: not here")
    assert re.match(r"about \S+ \S+ of training for 2 runs, 1 at a time; the longest, mini-\w+ own.py:Own#", estimate)


@pytest.mark.parametrize(
    ("asked", "queries"), [("one", "one"), ("one", "all"), ("all", "one"), (3, "one"), (3, "author")]
)
@pytest.mark.parametrize("variant", ["mini", "miniinv"])
def test_steps_and_questions_are_counted_in_the_data(variant, asked, queries, make):
    """A question of miniinv is about a colour that one digit has, so that an image has fewer than digits."""
    folder = make(variant)
    settings = RunSettings(replace(RECIPES["fast"], questions=asked), queries, ComputeConfig(torch.device("cpu")))
    (task,) = SweepPlan([resolve_network("san", DEFAULT_WIDTH)], [folder], 1, settings).build_tasks()
    split = load_split(folder, "train", "author" if queries == "author" else "all", torch.device("cpu"))
    images, questions = len(split.image.unique()), len(split)
    units = questions if (asked, queries) == ("one", "all") else images
    assert sweep_forecast._steps(task) == 3 * max(1, units // 32)
    expected = {"one": 1, "all": round(questions / images)}.get(asked, asked)
    assert sweep_forecast._questions_in_step(task) == expected
