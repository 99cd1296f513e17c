"""The forecast of the papers' grid: the runs that are left, and their hours."""

import shutil

import pytest
import torch

from bench.compute import ComputeConfig
from bench.recipes import RECIPES
from bench.runs import records
from tests.helpers import TOP
from tests.perf import grid_options
from tests.perf.grid_forecast import Part, Sizes, finished_in, forecast, forecast_of, parts_left, run_hours
from tests.perf.grid_plan import Stage

STAGES = Stage(("mref", "mbg"), ("san", "brnn2+arnn")), Stage(("mbginv",), ("ltpa-pc",))


def test_finished_runs_are_not_left():
    steps = [(seed, stage) for stage in STAGES for seed in range(2)]
    assert [len(part.left) for part in parts_left(steps, set())] == [4, 4, 1, 1]
    finished = {("mref", "brnn2,arnn", 0), ("mbginv", "ltpa-pc:linear=true", 1)}
    left = list(parts_left(steps, finished))
    assert left[0] == Part(0, STAGES[0], (("mref", "san"), ("mbg", "san"), ("mbg", "brnn2,arnn")))
    assert [(part.seed, len(part.left)) for part in left] == [(0, 3), (1, 4), (0, 1)]


def test_only_complete_runs_are_finished(tmp_path):
    kept = next((TOP / "results" / "fast" / "runs").glob("mref-san-s0-*"))
    shutil.copytree(kept, tmp_path / kept.name)
    (tmp_path / "mbg-han-s0-0123456789ab").mkdir()
    assert finished_in(tmp_path / "nothing") == set()
    has_weights = (kept / records.WEIGHTS).is_file()
    assert finished_in(tmp_path) == ({("mref", "san", 0)} if has_weights else set())
    (tmp_path / kept.name / records.WEIGHTS).unlink(missing_ok=True)
    assert finished_in(tmp_path) == set()


def test_hours_grow_with_epochs_and_images():
    computing = ComputeConfig(torch.device("cpu"))
    recipe = RECIPES["fast"]
    short = run_hours(("mref", "none"), recipe, Sizes(320, 0, 0), computing)
    long = run_hours(("mref", "none"), recipe, Sizes(32_000, 0, 0), computing)
    assert 0 < short < long


def test_the_table_adds_hours_in_order():
    hours = {("mref", "san"): 0.5, ("mbg", "san"): 1.5}
    parts = [Part(0, STAGES[0], (("mref", "san"), ("mbg", "san"))), Part(1, STAGES[0], (("mbg", "san"),))]
    lines = forecast(parts, hours, 2).splitlines()
    assert lines[0].split("  ")[0] == "variants"
    assert lines[1].split() == ["mref,", "mbg", "0", "2", "2.0", "1.0", "h", "san"]
    assert lines[2].split() == ["mbg", "1", "1", "1.5", "1.8", "h", "san"]
    assert lines[-1] == "3 runs, 4 hours of one core or GPU"


@pytest.mark.parametrize(("epochs", "told"), [((), "3 epochs each"), (("--epochs", "7"), "7 epochs each")])
def test_a_forecast_makes_no_folder(epochs, told, tmp_path):
    options = ["--device", "cpu", "--main", "none", "--stages", "1", "--seeds", "2", "--sizes", "64", "8", "8", *epochs]
    asked = grid_options.parsed("", [str(tmp_path / "grid"), "builtin", *options])
    assert asked.questions == "all"
    text = forecast_of(asked)
    assert text.splitlines()[-1].startswith("4 runs, 0 hours")
    assert text.endswith(told)
    assert not (tmp_path / "grid").exists()
