"""The plan of the papers' grid: its stages, their order and their epochs."""

import csv
import json

from bench.attention import canonical_names
from bench.model import create_model
from mnistref.variants import VARIANTS
from tests.helpers import TOP
from tests.perf import grid_plan


def test_the_grid_contains_every_published_accuracy():
    stages = grid_plan.STAGES
    trained = {
        (variant, attn)
        for stage in stages
        for variant in stage.variants
        for attn in canonical_names(",".join(stage.attns))
    }
    assert len({stage.name for stage in stages}) == len(stages)
    for variant, attn in trained:
        create_model(attn, variant)
    with open(TOP / "bench" / "leaderboard" / "published.csv", encoding="utf-8") as file:
        published = {(row["variant"], row["attn"]) for row in csv.DictReader(file) if row["measure"] == "accuracy"}
    assert published <= trained
    assert {variant for variant, _ in trained} == VARIANTS.keys() - {"mini", "miniinv", "mbgmulti", "mone"}


def test_every_seed_of_every_stage_comes_once_and_the_main_ones_first():
    stages = grid_plan.STAGES
    order = list(grid_plan.steps(5))
    assert sorted(order) == sorted((seed, stage) for stage in stages for seed in range(5))
    main = stages[0]
    assert order[:4] == [(0, main), (1, main), (2, main), (0, stages[1])]
    assert [seed for seed, _ in order[len(stages) + 2 :]] == [1] * 7 + [2] * 7 + [3] * 8 + [4] * 8
    assert list(grid_plan.steps(1)) == [(0, stage) for stage in stages]
    assert list(grid_plan.steps(1, ("han",), 2)) == [(0, stage._replace(attns=("han",))) for stage in stages[:2]]


def test_the_number_of_epochs_fits_into_the_time():
    times = {name: {"train_step_ms": ms, "infer_ms_per_image": 0.01} for name, ms in (("san", 0.6), ("arnn", 2.4))}
    sizes = (30_000, 10_000, 32)
    epoch = 3 * (937 * 3e-3 + 2 * 10_000 * 1e-5)
    for seconds in (200, 480, 3000):
        epochs = grid_plan.epochs_in(seconds, times, *sizes, workers=3, most=1000)
        spent = 12 * 6 / 3 + epochs * epoch
        assert spent <= 0.85 * seconds < spent + epoch
    assert grid_plan.epochs_in(20, times, *sizes, workers=3, most=30) == 1
    assert grid_plan.epochs_in(1e6, times, *sizes, workers=3, most=30) == 30


def test_times_of_a_session_are_used_if_complete(tmp_path):
    row = {"variant": "mref", "precision": "bf16", "batch": 32, "questions": 5, "infer_ms_per_image": 0.1}
    rows = [{**row, "network": name, "train_step_ms": 2} for name in ("san", "pan")]
    rows += [{**row, "network": "arnn", "failed": "no"}, {**row, "network": "arnn", "batch": 50, "train_step_ms": 2}]
    (tmp_path / "session.json").write_text(json.dumps({"measurements": rows}))
    found = grid_plan.times_of(tmp_path / "session.json", ["san", "pan"], 32, 5)
    assert found == {name: {"train_step_ms": 2, "infer_ms_per_image": 0.1} for name in ("san", "pan")}
    rows.append({**rows[0], "trainer_step_ms": 3, "val_ms_per_image": 0.2})
    (tmp_path / "session.json").write_text(json.dumps({"measurements": rows}))
    found = grid_plan.times_of(tmp_path / "session.json", ["san"], 32, 5)
    assert found == {"san": {"train_step_ms": 3, "infer_ms_per_image": 0.2}}
    assert grid_plan.times_of(tmp_path / "session.json", ["san", "arnn"], 32, 5) == {}
    assert grid_plan.times_of(tmp_path / "nothing.json", ["san"], 32, 5) == {}
