"""Tables of map methods and of randomised layers."""

import pytest

from bench.attribution.explain import ORACLE
from bench.leaderboard.map_table import build_map_table, map_table_to_text, randomization_to_text
from bench.leaderboard.question_columns import MAP_COLUMNS, column_names
from tests.bench.runs.question_cases import write_saliency


def test_the_table_of_map_methods_has_the_means_and_their_bounds(tmp_path):
    record = write_saliency(tmp_path)
    board = build_map_table([("some-run", record)])
    assert list(board.columns) == column_names(MAP_COLUMNS)
    assert board["method"].tolist() == ["attention", "gradient", "input-x-gradient", ORACLE]
    row = board.iloc[1]
    assert row["mask_correctness"] == pytest.approx(record.measures["gradient"]["mask_correctness"].mean())
    assert row["mask_correctness_lo"] < row["mask_correctness"] < row["mask_correctness_hi"]
    assert row["accuracy"] == pytest.approx(6 / 7)
    text = map_table_to_text(board)
    assert "some-run: 7 test questions of mbg-0123, 85.7 % right" in text
    assert "some-run: 7 test images of mone-0123, " in map_table_to_text(board.assign(dataset="mone-0123"))
    assert f"{row['iou_otsu']:.3f}" in text
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["attention", "gradient", "input-x-gradient", ORACLE]
    assert map_table_to_text(board, markdown=True).count("| --- ") > 5


def test_products_with_the_image_are_misleading_on_black_only(tmp_path):
    board = build_map_table([("some-run", write_saliency(tmp_path))])
    assert "*" not in map_table_to_text(board)
    for black in ("mref-0123", "mdist-0123", "unknown-0123"):
        text = map_table_to_text(board.assign(dataset=black))
        assert text.count("On a black background") == 1
        assert "input-x-gradient*" in text


def test_the_table_of_randomised_layers():
    text = randomization_to_text([("head.classify", {"gradient": 0.5, "gradcam": -0.25})])
    assert text.splitlines()[1].split() == ["head.classify", "+0.50", "−0.25"]
