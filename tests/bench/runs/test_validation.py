"""Impossible records: the wrong field of a result or of its answers is named, and the board leaves it out."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.common.safetensors_io import encode
from bench.evaluation.columns import COLUMN_BY_NAME, COSTS, MAP_METRICS, SCALES
from bench.evaluation.columns import COUNTS as SCALE_COUNTS
from bench.leaderboard.aggregate import build_board
from bench.runs import records
from bench.runs.record_types import Measures, Result, ResultHeader, RunRecord, ScaleMeasures
from bench.runs.validation import REQUIRED_FIELDS, check_against_answers, check_answers, check_result
from mnistref.common.errors import DataProblemError
from tests.bench.leaderboard.helpers import failed, result

RESULTS = Path(__file__).parents[3] / "results"
NUMBERS = [math.nan, math.inf, -math.inf, True, False, "1", [1], {}, 10**400, -1, -0.5]
SHARES = ["accuracy", "accuracy_scale_0.5_1.0", "mask_correctness", "mask_correctness_uniform", "tpr", "pointing"]
SHARES += ["pr_area", "val_accuracy"]
COUNTS = ["n_test", "params", "n_scale_0.5_1.0", "epochs", "best_epoch"]
TIMES = ["train_step_ms", "infer_ms_per_image", "relative_runtime"]


def test_result_of_a_run_is_valid():
    assert check_result(result()) == []
    assert check_result(failed()) == []
    assert check_result(result(accuracy=1, mask_correctness=0, note=None, capture=None, peak_memory_mb=0)) == []
    assert check_result(result(pr_area=None, tpr=None, relative_runtime=None, pr_curve={"recall": [math.nan]})) == []


def test_the_types_of_records_name_every_entry():
    assert ResultHeader.__required_keys__ == REQUIRED_FIELDS.keys() == Result.__required_keys__
    assert set(ScaleMeasures.__annotations__) == {*SCALES, *SCALE_COUNTS}
    assert {*MAP_METRICS, *COSTS} <= Measures.__optional_keys__
    stored = [json.loads(path.read_text()) for path in RESULTS.glob("*/runs/*/result.json")]
    assert len(stored) > 50
    assert {key for one in stored for key in one} <= set(Result.__annotations__)
    assert RunRecord.__required_keys__ == {*REQUIRED_FIELDS, "run"}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in (*SHARES, *COUNTS, *TIMES, "peak_memory_mb", "seconds") for value in NUMBERS]
    + [(name, value) for name in SHARES for value in (1.01, 2)]
    + [(name, 0.5) for name in COUNTS]
    + [(name, value) for name in TIMES for value in (0, 0.0, 1e300)]
    + [("n_test", 0), ("seed", True), ("seed", 0.0), ("seed", -1), ("seed", math.nan), ("seed", 2**70)]
    + [(name, value) for name in ("accuracy", "n_test", "params", "seed") for value in (None,)]
    + [(name, value) for name in ("attn", "variant", "device", "recipe", "status") for value in ("", None, 1, "a\0b")]
    + [("dataset", value) for value in ({}, [], {"spec_id": 1}, {"spec_id": "a", "digits": 3}, None)],
)
def test_impossible_values_of_a_result_are_named(name, value):
    assert check_result(result() | {name: value}) == [name]


def test_numbers_in_unsuccessful_runs_are_optional_but_must_be_valid():
    assert check_result(failed() | {"accuracy": 0.5}) == []
    assert check_result(failed() | {"accuracy": math.nan}) == ["accuracy"]


def answers(**changes) -> dict[str, np.ndarray]:
    kept = {"right": np.array([0, 1, 1], np.uint8), "answer": np.array([0, 4, 2], np.int16)}
    kept |= {"scale_bin": np.array([-1, 0, 4], np.int8), "pointing": np.array([0, 1, 1], np.uint8)}
    return {**kept, "mask_correctness": np.array([0.0, 0.5, 1.0], np.float16), **changes}


def test_answers_of_a_run_are_valid():
    assert check_answers(answers()) == []
    assert check_answers({"right": np.ones(1, bool)}) == []
    assert check_answers(answers(image=np.array([0, 0, 7]))) == []
    assert check_answers(answers(tpr=np.array([0, 1, 0.5]), pointing=np.array([0.5, 1, 0]))) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("right", [0, 1, 2]),
        ("right", [0, 1, 0.5]),
        ("right", [0, 1, math.nan]),
        ("right", [0, 1, -1]),
        ("answer", [0, 1, -1]),
        ("answer", [0, 1, 0.5]),
        ("scale_bin", [0, 1, 5]),
        ("scale_bin", [0, 1, -2]),
        ("scale_bin", [0, 1, 0.5]),
        ("image", [0, 1, 0]),
        ("image", [-1, 0, 0]),
        ("pointing", [0, 1, 2]),
        ("pointing", [0, 1, math.nan]),
        ("mask_correctness", [0, 1, 1.01]),
        ("mask_correctness", [0, 1, -0.01]),
        ("mask_correctness", [0, 1, math.inf]),
        ("tpr", [0, 1, math.nan]),
        ("tpr", [0, 1]),
        ("tpr", [[0, 1, 1]]),
        ("tpr", [0j, 1, 1]),
        ("tpr", ["0", "1", "1"]),
    ],
)
def test_impossible_answers_are_named(name, values):
    assert check_answers(answers(**{name: np.array(values)})) == [name]


@pytest.mark.parametrize("value_range", [(-20.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (0.0, 20.0)])
def test_the_range_of_a_metric_is_that_of_its_column(value_range, monkeypatch):
    low, high = value_range
    tpr = replace(COLUMN_BY_NAME["tpr"], value_range=value_range)
    monkeypatch.setitem(COLUMN_BY_NAME, "tpr", tpr)
    for value in (low, (low + high) / 2, high, low * (1 + 1e-7), high * (1 + 1e-7)):
        assert check_result(result(tpr=value)) == []
        assert check_answers(answers(tpr=np.full(3, value))) == []
    for value in (low - 0.1, high + 0.1):
        assert check_result(result(tpr=value)) == ["tpr"]
        assert check_answers(answers(tpr=np.array([low, high, value]))) == ["tpr"]
    stored = answers(tpr=np.linspace(low, high, 11, dtype=np.float16)[[1, 4, 8]])  # f2 rounds large numbers
    measure = float(np.linspace(low, high, 11)[[1, 4, 8]].mean())
    assert check_against_answers(agreeing(tpr=measure), stored) == []
    assert check_against_answers(agreeing(tpr=measure + (high - low) / 100), stored) == ["tpr"]


def test_answers_without_right_or_without_questions_are_invalid():
    assert check_answers({"answer": np.zeros(3)}) == ["right"]
    assert check_answers({"right": np.zeros(0)}) == ["right"]
    assert check_answers({"right": np.zeros(())}) == ["right"]
    assert check_answers({"right": np.zeros((3, 1))}) == ["right"]


def agreeing(**changes) -> dict:
    found = result(accuracy=2 / 3, n_test=3, mask_correctness=0.5, tpr=None, pointing=2 / 3)
    found |= {"accuracy_scale_0.5_1.0": 1.0, "n_scale_0.5_1.0": 1, "accuracy_scale_1.0_1.5": None}
    return found | {"n_scale_1.0_1.5": 0, "n_scale_2.5_3.0": 1, **changes}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"mask_correctness": 0.5009}, []),
        ({"mask_correctness": 0.502}, ["mask_correctness"]),
        ({"accuracy": 0.67}, ["accuracy"]),
        ({"n_test": 4}, ["n_test"]),
        ({"n_scale_0.5_1.0": 2}, ["n_scale_0.5_1.0"]),
        ({"n_scale_1.0_1.5": 3}, ["n_scale_1.0_1.5"]),
        ({"accuracy_scale_1.0_1.5": 0.5}, ["accuracy_scale_1.0_1.5"]),
    ],
)
def test_result_that_differs_from_its_answers_is_reported(changes, wrong):
    assert check_against_answers(agreeing(**changes), answers()) == wrong


def test_answers_with_nan_or_an_invalid_class_contradict_every_result():
    odd = answers(mask_correctness=np.array([0.5, math.nan, 0.5]))
    assert check_against_answers(agreeing(), odd) == ["mask_correctness"]
    assert check_against_answers(agreeing(), answers(answer=np.array([0, 5, 1]))) == ["answer"]
    assert check_against_answers(agreeing(variant="mbginv"), answers(answer=np.array([0, 5, 9]))) == []
    assert check_against_answers(agreeing(variant="of-my-own"), answers(answer=np.array([0, 99, 9]))) == []
    assert check_against_answers(failed(), odd) == check_against_answers(agreeing(), None) == []


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / records.RESULT).write_text(json.dumps(agreeing()))
    records.write_answers(folder, {name: torch.from_numpy(array) for name, array in answers().items()})
    return folder


def test_result_with_nan_is_damaged_on_the_board(run, caplog):
    (run / records.RESULT).write_text(json.dumps(agreeing(accuracy=math.nan)))
    with pytest.raises(DataProblemError, match=r"damaged \(accuracy missing or wrong\); run the same command again"):
        records.read_result(run)
    assert not records.is_finished(run)
    with caplog.at_level(logging.WARNING):
        assert list(records.read_results(run.parent)) == []  # nothing else has the name of the mechanism
    assert "damaged (accuracy" in caplog.text


@pytest.mark.parametrize(
    "array",
    [
        torch.tensor([0, 1, 2], dtype=torch.uint8),
        torch.tensor([0, 1, math.nan], dtype=torch.bfloat16),
        torch.tensor([0, 1, 1], dtype=torch.complex64),
        torch.zeros(3, 1, dtype=torch.uint8),
        torch.zeros(0, dtype=torch.uint8),
    ],
)
def test_invalid_answers_are_left_out_of_the_board(array, run, caplog):
    kept = {name: torch.from_numpy(each) for name, each in answers().items()}
    (run / records.ANSWERS).write_bytes(encode({**kept, "right": array}))
    with pytest.raises(DataProblemError, match=r"not the answers of a test \(.*right"):
        records.read_answers(run)
    with caplog.at_level(logging.WARNING):
        (row,) = build_board(records.read_results(run.parent)).to_dict("records")
    assert (row["seeds"], row["accuracy"]) == (1, pytest.approx(2 / 3))
    assert "not the answers of a test" in caplog.text


@pytest.mark.parametrize("text", ["[]", '"a"', "5", "null", "[" * 100_000, '{"attn": "\\ud800"}', '{"lr": NaN}'])
@pytest.mark.parametrize("name", [records.CONFIG, records.ENVIRONMENT])
def test_other_files_of_a_run_may_have_any_content(text, name, run, caplog):
    (run / name).write_text(text)
    with caplog.at_level(logging.WARNING):
        (row,) = build_board(records.read_results(run.parent)).to_dict("records")
    assert row["seeds"] == 1
    assert "run" in caplog.text
    (run / records.RESULT).unlink()
    assert list(records.read_results(run.parent)) == []
