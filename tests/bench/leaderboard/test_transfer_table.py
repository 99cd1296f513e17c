"""The table of transfers, from records with known values."""

import numpy as np
import pytest

from bench.leaderboard.question_columns import TRANSFER_COLUMNS, column_names
from bench.leaderboard.question_tables import QUESTION_TABLES
from bench.leaderboard.statistics import mean_with_bounds
from bench.leaderboard.transfer_table import build_transfer_table, transfer_table_to_text
from bench.runs.transfer_record import RECORD

RIGHT, FOLD = np.arange(20) % 4 > 0, np.arange(20) // 10


@pytest.fixture
def record(tmp_path):
    one = {"dataset": "folder-a-0", "images": 20, "classes": 3, "features": 1024, "folds": 2}
    return RECORD.write(tmp_path / "runs" / "run-1", one, RIGHT, FOLD)


def test_a_row_has_the_accuracy_over_images_and_its_spread_over_folds(record):
    table = build_transfer_table([("run-1", record)])
    assert list(table.columns) == column_names(TRANSFER_COLUMNS)
    (row,) = table.to_dict("records")
    assert {key: row[key] for key in ("run", "dataset", "images", "classes", "features")} == {
        "run": "run-1",
        "dataset": "folder-a-0",
        "images": 20,
        "classes": 3,
        "features": 1024,
    }
    expected = mean_with_bounds("accuracy", RIGHT.astype(float))
    assert {key: row[key] for key in expected} == expected
    assert row["deviation"] == pytest.approx(np.std([RIGHT[:10].mean(), RIGHT[10:].mean()], ddof=1))
    text = transfer_table_to_text(table)
    assert "1,024" in text
    assert "75.0 (" in text
    assert transfer_table_to_text(table, markdown=True).startswith("| run | images of |")


def test_a_board_stores_the_table_and_derives_it_again(record, tmp_path):
    (kind,) = (table for table in QUESTION_TABLES if table.record is RECORD)
    kind.write(tmp_path, tmp_path / "runs")
    assert kind.find_deviations(tmp_path, tmp_path / "runs") == []
    path = tmp_path / "transfers.csv"
    path.write_text(path.read_text().replace("0.75", "0.85"))
    (deviation,) = kind.find_deviations(tmp_path, tmp_path / "runs")
    assert "accuracy: 0.85, but its records give 0.75" in deviation
    assert len(build_transfer_table([])) == 0
