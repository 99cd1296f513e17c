"""The record of tests on other data sets: written, read, damaged, and tabulated without maps."""

import json
import math
import shutil

import pytest
import torch

from bench.common.safetensors_io import decode, encode
from bench.leaderboard.robustness_table import build_robustness_table, robustness_table_to_text
from bench.runs import robustness_record
from mnistref.common.errors import DataProblemError

FACTORS = {
    "variant": "mini",
    "scales": [0.5, 1.0],
    "digits_per_image": [2, 4],
    "canvas": 48,
    "seed": 0,
    "digits": "mnist5k",
    "backgrounds": None,
    "pool": "disjoint",
}
SET = {
    "dataset": "mini-1",
    "split": "test",
    "questions": 4,
    "pairs": 3,
    "factors": {**FACTORS, "scales": [0.5, 0.5]},
    "note": "",
    "batch": 2,
    "device": "cpu",
}
RIGHT = torch.tensor([1, 0, 1, 1], dtype=torch.uint8)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run with the record of one test without maps."""
    _, folder, _ = finished
    run = tmp_path / folder.name
    shutil.copytree(folder, run)
    robustness_record.write_record(run, run, "mini-0", FACTORS, [(dict(SET), {"right": RIGHT})])
    return run


def test_a_record_is_read_as_it_was_written_and_has_a_table_without_maps(run):
    record = robustness_record.read_record(run)
    assert record.settings == {"format": 1, "dataset": "mini-0", "factors": FACTORS, "sets": [SET]}
    assert record.others[0]["right"].tolist() == [1, 0, 1, 1]
    board = build_robustness_table([("run", record)])
    own = record.own["right"][:3]
    assert board.loc[1, "accuracy_difference"] == pytest.approx((2 - own.sum()) / 3)
    assert math.isnan(board.loc[1, "mask_correctness"])
    assert "3 pairs" in robustness_table_to_text(board, markdown=True)


def test_a_run_without_a_record_has_none(tmp_path):
    assert robustness_record.read_record(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "its format is not 1"),
        ({"dataset": 1}, "dataset missing"),
        ({"factors": {"scales": [1, 2]}}, "factors missing"),
        ({"sets": []}, "sets missing"),
        ({"sets": [SET, SET]}, "sets missing"),
        ({"sets": [{**SET, "pairs": 5}]}, "sets missing"),
        ({"sets": [{**SET, "dataset": "a/b"}]}, "sets missing"),
        ({"sets": [{**SET, "factors": {**FACTORS, "scales": 1}}]}, "sets missing"),
        ({"sets": [{**SET, "questions": 5}]}, "mini-1/test/right missing or wrong"),
        ({"sets": [{**SET, "dataset": "mini-2"}]}, "mini-2/test/right, mini-1/test/right missing or wrong"),
    ],
)
def test_wrong_settings_are_named(change, message, run):
    path = run / robustness_record.SETTINGS
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataProblemError, match=message):
        robustness_record.read_record(run)


@pytest.mark.parametrize(
    "arrays",
    [
        {"right": torch.tensor([1, 0, 2, 1], dtype=torch.uint8)},
        {"right": RIGHT, "pointing": RIGHT},
        {"right": RIGHT, "further": RIGHT},
        {},
    ],
)
def test_wrong_arrays_are_named(arrays, run):
    path = run / robustness_record.ARRAYS
    assert decode(path.read_bytes(), "arrays").keys() == {"mini-1/test/right"}
    path.write_bytes(encode({f"mini-1/test/{name}": values for name, values in arrays.items()}))
    with pytest.raises(DataProblemError, match=r"mini-1/test/.* missing or wrong"):
        robustness_record.read_record(run)
