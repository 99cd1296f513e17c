"""The record of tests on other data sets: written, read, and damaged."""

import json
import shutil

import pytest
import torch

from bench.common.safetensors_io import decode, encode
from bench.runs import robustness_record
from mnistref.common.errors import DataProblemError
from tests.bench.runs.question_cases import FACTORS, RIGHT, TESTED_SET


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run with the record of one test without maps."""
    _, folder, _ = finished
    run = tmp_path / folder.name
    shutil.copytree(folder, run)
    robustness_record.RECORD.write(run, run, "mini-0", FACTORS, [(dict(TESTED_SET), {"right": RIGHT})])
    return run


def test_a_robustness_record_is_read_as_it_was_written(run):
    record = robustness_record.RECORD.read(run)
    assert record.settings == {"format": 1, "dataset": "mini-0", "factors": FACTORS, "sets": [TESTED_SET]}
    assert record.others[0]["right"].tolist() == [1, 0, 1, 1]


def test_a_record_may_have_several_questions_about_an_image(run):
    arrays = {"right": RIGHT, "image": torch.tensor([0, 0, 1, 1], dtype=torch.int32)}
    robustness_record.RECORD.write(run, run, "mini-0", FACTORS, [(dict(TESTED_SET), arrays)])
    assert robustness_record.RECORD.read(run).others[0]["image"].tolist() == [0, 0, 1, 1]


def test_a_run_without_a_robustness_record_has_none(tmp_path):
    assert robustness_record.RECORD.read(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "its format is not 1"),
        ({"dataset": 1}, "dataset missing"),
        ({"factors": {"scales": [1, 2]}}, "factors missing"),
        ({"sets": []}, "sets missing"),
        ({"sets": [TESTED_SET, TESTED_SET]}, "sets missing"),
        ({"sets": [{**TESTED_SET, "pairs": 5}]}, "sets missing"),
        ({"sets": [{**TESTED_SET, "dataset": "a/b"}]}, "sets missing"),
        ({"sets": [{**TESTED_SET, "factors": {**FACTORS, "scales": 1}}]}, "sets missing"),
        ({"sets": [{**TESTED_SET, "questions": 5}]}, "mini-1/test/right missing or wrong"),
        ({"sets": [{**TESTED_SET, "dataset": "mini-2"}]}, "mini-2/test/right, mini-1/test/right missing or wrong"),
    ],
)
def test_wrong_settings_of_a_robustness_record_are_named(change, message, run):
    path = run / robustness_record.RECORD.settings_file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataProblemError, match=message):
        robustness_record.RECORD.read(run)


@pytest.mark.parametrize(
    "arrays",
    [
        {"right": torch.tensor([1, 0, 2, 1], dtype=torch.uint8)},
        {"right": RIGHT, "pointing": RIGHT},
        {"right": RIGHT, "further": RIGHT},
        {"right": RIGHT, "image": torch.tensor([0, 1, 0, 1], dtype=torch.int32)},
        {},
    ],
)
def test_wrong_arrays_of_a_robustness_record_are_named(arrays, run):
    path = run / robustness_record.RECORD.arrays_file
    assert decode(path.read_bytes(), "arrays").keys() == {"mini-1/test/right"}
    path.write_bytes(encode({f"mini-1/test/{name}": values for name, values in arrays.items()}))
    with pytest.raises(DataProblemError, match=r"mini-1/test/.* missing or wrong"):
        robustness_record.RECORD.read(run)
