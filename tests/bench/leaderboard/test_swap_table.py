"""Tables of swapped questions, from records with known values."""

import numpy as np
import pytest

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION
from bench.leaderboard.question_columns import SWAP_COLUMNS, column_names
from bench.leaderboard.swap_table import build_swap_table, describe_verdict, swap_table_to_text
from bench.runs.swap_record import SwapRecord


def swapped(change: float) -> SwapRecord:
    names = (*MASSES, MOVED, TOTAL_VARIATION, LARGEST_CHANGE, *AREAS)
    measures = {name: np.full(10, 0.25) for name in names}
    measures[LARGEST_CHANGE] = np.full(10, 1e-8)
    measures[LARGEST_CHANGE][0] = change
    right = {RIGHTS[0]: np.ones(10, dtype=bool), RIGHTS[1]: np.arange(10) < 5}
    return SwapRecord({"format": 1, "dataset": "mini-1", "images": 10, "batch": 50, "device": "cpu"}, measures, right)


@pytest.mark.parametrize(
    ("change", "share", "verdict"),
    [
        (9e-7, 0.0, "the map does not depend on the question"),
        (1e-6, 0.1, "the map depends on the question: it changes in 10.0 % of the images"),
    ],
)
def test_the_verdict_on_swapped_questions_is_that_of_the_largest_change(change, share, verdict):
    table = build_swap_table([("run-1", swapped(change))])
    assert list(table.columns) == column_names(SWAP_COLUMNS)
    (row,) = table.to_dict("records")
    assert row["verdict"] == describe_verdict(swapped(change).measures[LARGEST_CHANGE]) == verdict
    assert row["maps_changed"] == share
    assert row["maximal_change"] == change
    assert (row["right1"], row["right2"]) == (1.0, 0.5)
    assert row["moved"] == 0.25
    text = swap_table_to_text(build_swap_table([("run-1", swapped(change))]))
    assert text.splitlines()[-1].startswith(verdict)
    assert "question 2  0.250" in text
    assert "mass moved to digit 2" in text
    assert "+0.250" in text


def test_the_interval_of_a_map_that_never_moves_contains_both_signs():
    record = swapped(0.0)
    record.measures[MOVED][:] = 0
    (row,) = build_swap_table([("run-1", record)]).to_dict("records")
    assert row["moved"] == 0
    assert row["moved_hi"] == -row["moved_lo"] > 0
