"""Records of runs in Python: complete, unfinished, partly missing and damaged folders."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import bench
import mnistref
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.leaderboard.snapshot import save_snapshot
from bench.runs import experiment, records
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import MnistRef
from tests.helpers import TOP

SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")

QUESTION = ["image", "query", "label", "scale"]
STORED = ["prediction", "correct", "scale_bin", "mask_correctness", "tpr", "pointing"]


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory):
    settings = experiment.RunSettings(SHORT, "one", ComputeConfig(torch.device("cpu")))
    return experiment.run(experiment.configure(mini, "pan", 3, settings), mini, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "runs" / finished.name)


def test_loaded_run_has_its_complete_record(finished):
    run = bench.load_run(str(finished))
    assert run.path == finished
    assert (run.config.attn, run.config.seed, run.config.recipe) == ("pan", 3, SHORT)
    assert run.result == json.loads((finished / "result.json").read_text())
    assert list(run.history["epoch"]) == [1, 2]
    assert run.history["val_accuracy"].max() == run.result["val_accuracy"]
    assert list(run.answers) == [*QUESTION, *STORED]
    assert run.answers["correct"].dtype == bool
    assert run.answers["correct"].mean() == run.result["accuracy"]
    assert run.model is run.model
    assert not run.model.training
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.path = "elsewhere"


def test_a_stored_board_has_records_without_weights(finished, tmp_path):
    save_snapshot(finished.parent, tmp_path / "board")
    run, own = bench.load_run(tmp_path / "board" / "runs" / finished.name), bench.load_run(finished)
    assert run.result == own.result
    assert (run.data, list(run.answers)) == (None, STORED)
    pd.testing.assert_frame_equal(run.answers, own.answers[STORED])
    pd.testing.assert_frame_equal(run.history, own.history)
    with pytest.raises(DataProblemError, match="no weights here"):
        run.model  # noqa: B018


def test_answers_have_the_questions_if_the_data_set_is_known(finished, mini, tmp_path):
    save_snapshot(finished.parent, tmp_path / "board")
    stored = tmp_path / "board" / "runs" / finished.name
    data = MnistRef(mini, "test")
    for run in (bench.load_run(finished), bench.load_run(stored, data=mini)):
        assert run.data.name == mini.name
        for name in ("image", "query", "label"):
            np.testing.assert_array_equal(run.answers[name], getattr(data.triples, name))
        np.testing.assert_array_equal(run.answers["scale"], data.scale)
        assert ((run.answers["prediction"] == run.answers["label"]) == run.answers["correct"]).all()
    assert bench.load_run(stored, root=mini.parent.parent).data == mini


def test_another_data_set_is_refused(finished, mini, tmp_path):
    other = mnistref.generate("mini", tmp_path, seed=1, train=2, val=2, test=3, digits="mnist5k", workers=1)
    with pytest.raises(UsageProblemError, match=f"this is {other.name}, and the run is on {mini.name}"):
        bench.load_run(finished, data=other)
    run = dataclasses.replace(bench.load_run(finished), data=other)
    with pytest.raises(DataProblemError, match="its test questions are not those of"):
        run.answers  # noqa: B018


def test_a_run_is_represented_by_one_line(finished, copied):
    run = bench.load_run(finished)
    measures = ", ".join(f"{name}={run.result[name]:.4f}" for name in ("accuracy", "mask_correctness", "pointing"))
    assert repr(run) == f"LoadedRun('{finished.name}', {measures}, 2 epochs, 120 questions)"
    (copied / records.RESULT).unlink()
    assert repr(bench.load_run(copied)) == f"LoadedRun('{finished.name}', unfinished, 2 epochs, 120 questions)"


@pytest.mark.parametrize("board", sorted((TOP / "results").glob("*/runs")), ids=lambda path: path.parent.name)
def test_the_records_of_the_results_load(board):
    folders = sorted(board.iterdir())
    for folder in folders:
        run = bench.load_run(folder)
        assert run.result["status"] in ("ok", "failed", "diverged")
        assert run.result["status"] != "ok" or len(run.answers) == run.result["n_test"]
        assert len(run.history) >= 1
    assert folders


def test_an_unfinished_run_has_its_history(copied):
    (copied / records.RESULT).unlink()
    with open(copied / records.HISTORY, "a") as file:
        file.write('{"epoch": 3, "train_l')
    run = bench.load_run(copied)
    assert run.result["status"] == "unfinished"
    assert (run.result["attn"], run.result["seed"]) == ("pan", 3)
    assert len(run.history) == 2
    with pytest.raises(DataProblemError, match="not finished"):
        run.model  # noqa: B018


def test_missing_files_of_a_run_are_empty_tables(copied):
    for name in (records.HISTORY, records.ANSWERS):
        (copied / name).unlink()
    run = bench.load_run(copied)
    assert len(run.history) == len(run.answers) == 0


def test_loading_a_folder_without_a_run_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match="no run here"):
        bench.load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (records.CONFIG, lambda content: {**content, "recipe": {}}),
        (records.CONFIG, lambda content: []),
        (records.CONFIG, lambda content: {**content, "attn": "san"}),
        (records.RESULT, lambda content: {**content, "accuracy": 3}),
        (records.RESULT, lambda content: []),
    ],
)
def test_damaged_records_of_a_loaded_run_are_data_errors(name, change, copied):
    path = copied / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataProblemError, match=r"config\.json|result\.json") as error:
        bench.load_run(copied)
    assert "\n" not in str(error.value)
