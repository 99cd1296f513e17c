"""Reading the records of runs: complete, damaged and missing ones."""

import json
import shutil
from pathlib import Path

import pytest

from bench.leaderboard.aggregate import build_board
from bench.runs import experiment, records
from bench.runs.records import read_results
from tests.bench.leaderboard.helpers import result


def test_results_are_read_from_the_runs(tmp_path: Path):
    for seed in (1, 0):
        folder = tmp_path / f"mbg-arnn-s{seed}"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(result(seed=seed)))
    (tmp_path / "other").mkdir()
    assert [r["seed"] for r in read_results(tmp_path)] == [0, 1]


@pytest.mark.parametrize(
    ("lines", "questions", "hours"),
    [
        ([{"questions": 40, "device_seconds": 1800}, {"questions": 60, "device_seconds": 900.0}], 100, 0.75),
        ([{"questions": 40}, {"questions": 60, "device_seconds": 900.0}], 100, None),  # an early version wrote it
        ([{"questions": True, "device_seconds": float("nan")}], None, None),
        ([{"questions": -1, "device_seconds": "long"}], None, None),
        ([], None, None),
    ],
)
def test_size_of_the_training_is_the_sum_over_its_epochs(lines, questions, hours, tmp_path):
    (tmp_path / "mbg-arnn-s0").mkdir()
    (tmp_path / "mbg-arnn-s0/result.json").write_text(json.dumps(result()))
    (tmp_path / "mbg-arnn-s0/history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (found,) = read_results(tmp_path)
    assert (found["questions_seen"], found["device_hours"]) == (questions, hours)


DAMAGE = [
    {"status": "weird"},
    {"accuracy": "high"},
    {"accuracy": 0.123},
    {"mask_correctness": "a"},
    {"dataset": {}},
    {"capture": [1]},
]


@pytest.mark.parametrize("text", ["[]", "{", '{"status": "ok"}', *DAMAGE])
def test_damaged_result_is_shown_and_computed_again(text, finished, mini, tmp_path):
    config, folder, result = finished
    shutil.copytree(folder, tmp_path / folder.name)
    path = tmp_path / folder.name / "result.json"
    path.write_text(text if isinstance(text, str) else json.dumps({**result, **text}))
    shown = list(records.read_results(tmp_path))
    assert [(r["status"], r["attn"], r["run"]) for r in shown] == [("damaged", "pan", config.run_id)]
    assert build_board(shown)["status"].tolist() == ["1 damaged"]
    experiment.run(config, mini, tmp_path)
    assert [r["status"] for r in records.read_results(tmp_path)] == ["ok"]


@pytest.mark.parametrize("name", ["config.json", "answers.safetensors"])
def test_finished_run_is_shown_if_other_files_are_damaged(name, finished, tmp_path):
    _, folder, result = finished
    shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / folder.name / name).write_text("{}")
    board = build_board(records.read_results(tmp_path))
    assert board["status"].tolist() == ["ok"]
    assert board["accuracy"].tolist() == [result["accuracy"]]
    assert board["accuracy_lo"].notna().all()


def test_folder_without_a_run_does_not_affect_the_board(finished, tmp_path):
    _, folder, result = finished
    shutil.copytree(folder, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text("{")
    (tmp_path / "c").mkdir()
    assert [r["accuracy"] for r in records.read_results(tmp_path)] == [result["accuracy"]]
