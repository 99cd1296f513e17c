"""The record of map methods: what is written is read again, packed or not, and damage is named."""

import json

import numpy as np
import pytest

from bench.attribution.explain import ORACLE
from bench.attribution.measures import AREAS
from bench.runs.saliency_record import RECORD
from mnistref.common.errors import DataProblemError
from tests.bench.runs.question_cases import make_explanation, write_saliency


def test_a_saliency_record_is_read_as_it_was_written(tmp_path):
    assert RECORD.read(tmp_path) is None
    record, explanation = write_saliency(tmp_path), make_explanation()
    assert list(record.measures) == ["attention", "gradient", "input-x-gradient", ORACLE]
    assert record.settings["images"] == 7
    assert record.settings["seconds_per_1000"] == {"gradient": 500.0}
    assert record.right.tolist() == [True] * 6 + [False]
    for method, table in explanation.measures.items():
        for name, values in table.items():
            np.testing.assert_allclose(record.measures[method][name], values, atol=5e-4)
    packed = RECORD.read_packed(tmp_path)
    (tmp_path / RECORD.arrays_file).unlink()
    (tmp_path / RECORD.packed_file).write_bytes(packed)
    again = RECORD.read(tmp_path)
    assert all(np.array_equal(again.areas[name], record.areas[name]) for name in AREAS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1}, "its format is not 3"),
        ({"images": 8}, "missing or wrong"),
        ({"images": "7"}, "images missing or wrong"),
        ({"seconds_per_1000": None}, "seconds_per_1000 missing or wrong"),
        ({"seconds_per_1000": {"gradient": "fast"}}, "seconds_per_1000 missing or wrong"),
        ({"images": 0}, "images missing or wrong"),
    ],
)
def test_wrong_settings_of_a_saliency_record_are_named(change, message, tmp_path):
    write_saliency(tmp_path)
    path = tmp_path / RECORD.settings_file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataProblemError, match=message):
        RECORD.read(tmp_path)


def test_missing_and_damaged_arrays_of_a_saliency_record_are_named(tmp_path):
    write_saliency(tmp_path)
    path = tmp_path / RECORD.arrays_file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataProblemError, match="not a safetensors file"):
        RECORD.read(tmp_path)
    path.unlink()
    with pytest.raises(DataProblemError, match="missing"):
        RECORD.read(tmp_path)
