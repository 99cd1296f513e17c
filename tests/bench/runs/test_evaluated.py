"""Models that were trained elsewhere: `bench evaluate` writes the record of a run, which other commands accept."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import bench as package
from bench.config import EVALUATED, RECIPES, RunConfig
from bench.leaderboard.snapshot import rederive_boards, save_snapshot
from bench.runs import records
from bench.runs.validation import check_result
from mnistref import MnistRef
from mnistref.common.errors import DataProblemError, UsageProblemError
from tests.bench.bench_command import bench

MODEL = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 5)

    def forward(self, images, query):
        return self.linear(images.mean((2, 3))) + query[:, None] * 0.01, images.mean(1)

def make_model():
    from near import scale
    model = Own()
    model.linear.weight.data *= scale
    return model

def make_function():
    model = Own().eval()
    return lambda images, query: (model(images, query)[0].detach().numpy(), None)

def make_maps():
    return lambda images, query: images.mean(1)

def make_wrong():
    return lambda images, query: images

def make_nan():
    return lambda images, query: torch.full((len(images), 5), torch.nan)

def make_raising():
    def model(images, query):
        raise KeyError("of mine")
    return model

def make_nothing():
    return 3

def make_of(what):
    return what

def make_failing():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "own" / "own_model.py"
    path.parent.mkdir()
    path.write_text(MODEL)
    (path.parent / "near.py").write_text("scale = 3.0\n")
    return path


def evaluated(file: Path, mini: Path, runs: Path, *options, function="make_model") -> Path:
    code, out, said = bench(
        "evaluate", f"{file}:{function}", "--data", mini, "--runs", runs, "--device", "cpu", *options
    )
    assert code == 0, said
    return Path(out)


def test_evaluation_writes_the_record_of_a_run(file, mini, tmp_path):
    folder = evaluated(file, mini, tmp_path / "runs", "--seed", 4)
    names = {"config.json", "environment.json", "history.jsonl", "result.json", "answers.safetensors", "pictures"}
    assert {path.name for path in folder.iterdir()} == names
    run = package.load_run(folder)
    assert run.config.attn.startswith("own_model.py:make_model#")
    assert (run.config.recipe, run.config.seed, run.result["recipe"]) == (EVALUATED, 4, "evaluated")
    assert run.result["params"] == 20
    assert not {"train_step_ms", "peak_memory_mb", "relative_runtime", "infer_ms_per_image", "epochs"} & {*run.result}
    assert len(run.history) == 0
    found = package.evaluate(run.model, MnistRef(mini, "test"))
    assert all(run.result[name] == value for name, value in found.measures.items())
    np.testing.assert_array_equal(run.answers["prediction"], found.answers["prediction"])


def test_boards_pictures_and_reports_accept_an_evaluation(file, mini, tmp_path):
    """Next to a trained run, with maps and without."""
    runs = tmp_path / "runs"
    code, trained, said = bench(
        *("run", "--attn", "pan", "--data", mini, "--runs", runs, "--epochs", "1", "--batch", "50", "--device", "cpu")
    )
    assert code == 0, said
    folders = [evaluated(file, mini, runs, "--seed", seed, "--name", "mine") for seed in (0, 1)]
    without_maps = evaluated(file, mini, runs, function="make_function")
    code, _, _ = bench("leaderboard", "--runs", runs, "-o", tmp_path / "board.csv")
    assert code == 0
    rows = {
        row["attn"].partition("#")[0]: row for row in csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text()))
    }
    assert rows.keys() == {"pan", "mine", "own_model.py:make_function"}
    assert rows["mine"]["seeds"] == "2"
    for name in ("mine", "own_model.py:make_function"):
        assert rows[name]["status"] == "ok"
        assert rows[name]["recipe"] == "evaluated"
        assert not any(rows[name][cost] for cost in ("train_step_ms", "peak_memory_mb", "relative_runtime"))
        assert 0 <= float(rows[name]["accuracy_lo"]) <= float(rows[name]["accuracy"])
    assert rows["mine"]["mask_correctness"]
    assert not rows["own_model.py:make_function"]["mask_correctness"]
    assert "bench evaluate FILE.py:FUNCTION --name mine" in rows["mine"]["command"]
    assert "bench evaluate own_model.py:make_function --data" in rows["own_model.py:make_function"]["command"]
    for baseline in ("mine", "own_model.py:make_function"):
        code, board, _ = bench("leaderboard", "--baseline", baseline, "--runs", runs)
        assert code == 0
        assert f"− {baseline}" in board  # the heading of the differences
        assert "no differences" not in board
    assert "unknown mechanism 'mime'" in bench("leaderboard", "--baseline", "mime", "--runs", runs)[2]
    for option in ("--markdown", "--commands"):
        assert bench("leaderboard", option, "--runs", runs)[0] == 0
    code, _, said = bench("leaderboard", "--claims", "--runs", runs)
    assert (code, "claim" in said) == (2, True)  # no claim is about these rows
    for shown in ([folders[0]], [without_maps], [trained, folders[1], without_maps]):
        code, picture, said = bench("show", *shown, "--data", mini, "-o", tmp_path / "picture.png")
        assert code == 0, said
        assert Path(picture).stat().st_size > 1000
    code, page, said = bench("report", "--runs", runs, "-o", tmp_path / "report.html")
    assert code == 0, said
    text = Path(page).read_text()
    assert all(name in text for name in ("mine#", "make_function#", "evaluated"))


def test_saved_board_of_an_evaluation_is_valid_and_has_no_paths(file, mini, tmp_path):
    folder = evaluated(file, mini, tmp_path / "runs")
    save_snapshot(tmp_path / "runs", tmp_path / "board")
    assert rederive_boards(tmp_path / "board")
    stored = tmp_path / "board" / "runs" / folder.name
    assert str(tmp_path) not in (stored / records.CONFIG).read_text()
    assert package.load_run(stored).result == package.load_run(folder).result
    with pytest.raises(DataProblemError, match="use the original run"):
        package.load_run(stored).model  # noqa: B018


def test_a_second_evaluation_replaces_the_first(file, mini, tmp_path):
    first = evaluated(file, mini, tmp_path / "runs")
    before = (first / "result.json").read_text()
    (first / "result.json").write_text("{}")
    assert evaluated(file, mini, tmp_path / "runs") == first
    again, wanted = json.loads((first / "result.json").read_text()), json.loads(before)
    assert again | {"seconds": 0} == wanted | {"seconds": 0}


@pytest.mark.parametrize("changed", ["own_model.py", "near.py"])
def test_edited_model_file_is_another_model_and_is_not_executed_for_the_old_record(changed, file, mini, tmp_path):
    folder = evaluated(file, mini, tmp_path / "runs")
    with open(file.parent / changed, "a") as edited:
        edited.write("\nraise SystemExit('executed')\n")
    with pytest.raises(UsageProblemError, match="has changed since the test"):
        package.load_run(folder).model  # noqa: B018
    code, _, said = bench("show", folder, "--data", mini, "-o", tmp_path / "picture.png")
    assert code == 2
    assert "has changed since the test" in said
    (file.parent / changed).write_text((file.parent / changed).read_text().replace("raise ", ""))
    assert evaluated(file, mini, tmp_path / "runs") != folder


def test_deleted_model_file_is_named(file, mini, tmp_path):
    folder = evaluated(file, mini, tmp_path / "runs")
    shutil.rmtree(file.parent)
    with pytest.raises(UsageProblemError, match=r"own_model\.py: No such file|near\.py: No such file"):
        package.load_run(folder).model  # noqa: B018


@pytest.mark.parametrize(
    ("function", "options", "code", "message"),
    [
        ("nosuch", [], 2, "defines no function 'nosuch'"),
        ("make_modl", [], 2, "did you mean 'make_model'"),
        ("", [], 2, "give path/to/file.py:function"),
        ("make_nothing", [], 2, "returned a int: return a module"),
        ("make_of", [], 2, "needs what"),
        ("make_failing", [], 2, "raises RuntimeError: no weights here"),
        ("make_maps", [], 2, "the model returns maps alone"),
        ("make_wrong", [], 6, "map 1 has 3 channels"),
        ("make_nan", [], 6, "not finite"),
        ("make_raising", [], 6, "KeyError: 'of mine'"),
        ("make_model", ["--name", "san"], 2, "a mechanism of bench"),
        ("make_model", ["--name", "a,b"], 2, "--name 'a,b'"),
        ("make_model", ["--name", ""], 2, "--name ''"),
        ("make_model", ["--batch", "0"], 2, "0 is not in the range"),
        ("make_model", ["--device", "cuda"], 2, "cuda"),
    ],
)
def test_failed_evaluation_leaves_no_record(function, options, code, message, file, mini, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    runs = tmp_path / "runs"
    found, out, said = bench("evaluate", f"{file}:{function}", "--data", mini, "--runs", runs, *options)
    assert (found, out) == (code, "")
    assert message in said
    assert not list(runs.glob("*/*"))


def test_evaluation_cannot_be_trained_or_give_initial_weights(file, mini, tmp_path):
    folder = evaluated(file, mini, tmp_path / "runs")
    code, _, said = bench("run", "--config", folder / "config.json", "--runs", tmp_path / "again")
    assert code == 2
    assert "repeat its test with `bench evaluate`" in said
    code, _, said = bench("run", "--attn", "pan", "--data", mini, "--init", folder, "--runs", tmp_path / "again")
    assert code == 2
    assert "fit" in said


def test_only_a_complete_evaluation_recipe_is_valid():
    """The recipe of a trained run is no evaluation recipe, and the other way round."""
    config = RunConfig("mine#01234567", "mini", "mini-0123456789ab", 0, EVALUATED, "one", "fp32", "cpu")
    RunConfig.from_dict(json.loads(json.dumps(config.as_dict()))).require_valid()
    for change in ({"lr": 0.1}, {"epochs": 1}, {"name": "fast"}):
        content = json.loads(json.dumps(config.as_dict()))
        content["recipe"] |= change
        with pytest.raises(ValueError, match=r"name|optimizer"):
            RunConfig.from_dict(content).require_valid()
    result = {"status": "ok", "recipe": "evaluated", "accuracy": 0.5, "n_test": 3}
    assert not {"params", "train_step_ms", "accuracy"} & {*check_result(result)}
    assert "params" in check_result(result | {"recipe": RECIPES["fast"].label})
