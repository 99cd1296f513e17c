"""The record of map methods: what is written is read again, packed or not, and damage is named."""

import json

import numpy as np
import pytest
import torch

from bench.attribution.explain import ORACLE, Explanation, ExplanationOptions
from bench.attribution.measures import AREAS, DELETION, MEASURES
from bench.leaderboard.map_table import build_map_table, map_table_to_text, randomization_to_text
from bench.leaderboard.question_columns import MAP_COLUMNS, column_names
from bench.runs import saliency_record
from bench.runs.saliency_record import RECORD
from mnistref.common.errors import DataProblemError


def make_explanation(images: int = 7) -> Explanation:
    generator = torch.Generator().manual_seed(0)

    def values():
        return torch.rand(images, generator=generator, dtype=torch.float64)

    measures = {
        "gradient": {column.name: values() for column in MEASURES},
        "input-x-gradient": {column.name: values() for column in MEASURES},
        "attention": {column.name: values() for column in MEASURES if column.name != DELETION},
        ORACLE: {DELETION: values()},
    }
    right = torch.tensor([1] * (images - 1) + [0], dtype=torch.uint8)
    return Explanation(measures, {name: values() for name in AREAS}, right, {"gradient": 3.5}, {})


def write(run) -> saliency_record.SaliencyRecord:
    content = saliency_record.saliency_content("mbg-0123", make_explanation(), ExplanationOptions(), "cpu", "0.9.0")
    return RECORD.write(run, content)


def test_a_record_is_read_as_written(tmp_path):
    assert RECORD.read(tmp_path) is None
    record, explanation = write(tmp_path), make_explanation()
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
        ({"format": 2}, "its format is not 1"),
        ({"images": 8}, "missing or wrong"),
        ({"images": "7"}, "images missing or wrong"),
        ({"seconds_per_1000": None}, "seconds_per_1000 missing or wrong"),
        ({"seconds_per_1000": {"gradient": "fast"}}, "seconds_per_1000 missing or wrong"),
        ({"images": 0}, "images missing or wrong"),
    ],
)
def test_wrong_settings_are_named(change, message, tmp_path):
    write(tmp_path)
    path = tmp_path / RECORD.settings_file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataProblemError, match=message):
        RECORD.read(tmp_path)


def test_missing_and_damaged_arrays_are_named(tmp_path):
    write(tmp_path)
    path = tmp_path / RECORD.arrays_file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataProblemError, match="not a safetensors file"):
        RECORD.read(tmp_path)
    path.unlink()
    with pytest.raises(DataProblemError, match="missing"):
        RECORD.read(tmp_path)


def test_the_table_has_the_means_and_their_bounds(tmp_path):
    record = write(tmp_path)
    board = build_map_table([("some-run", record)])
    assert list(board.columns) == column_names(MAP_COLUMNS)
    assert board["method"].tolist() == ["attention", "gradient", "input-x-gradient", ORACLE]
    row = board.iloc[1]
    assert row["mask_correctness"] == pytest.approx(record.measures["gradient"]["mask_correctness"].mean())
    assert row["mask_correctness_lo"] < row["mask_correctness"] < row["mask_correctness_hi"]
    assert row["accuracy"] == pytest.approx(6 / 7)
    text = map_table_to_text(board)
    assert "some-run: 7 test questions of mbg-0123, 85.7 % right" in text
    assert text.count("On a black background") == 1
    assert f"{row['iou_otsu']:.3f}" in text
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["attention", "gradient", "input-x-gradient*", ORACLE]
    assert map_table_to_text(board, markdown=True).count("| --- ") > 5


def test_the_table_of_randomised_layers():
    text = randomization_to_text([("head.classify", {"gradient": 0.5, "gradcam": -0.25})])
    assert text.splitlines()[1].split() == ["head.classify", "+0.50", "−0.25"]
