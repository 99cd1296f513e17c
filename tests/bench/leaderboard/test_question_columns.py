"""The columns of the tables of map methods, attacks and swapped questions."""

import pandas as pd
import pytest

from bench.evaluation.column import Column
from bench.leaderboard.question_columns import (
    ATTACK_COLUMNS,
    MAP_COLUMNS,
    SWAP_COLUMNS,
    column_names,
    format_with_bounds,
)


def test_bounded_columns_are_followed_by_their_bounds():
    columns = [Column("a", "A."), Column("b", "B.", bounded=True), Column("c", "C.")]
    assert column_names(columns) == ["a", "b", "b_lo", "b_hi", "c"]


@pytest.mark.parametrize("columns", [ATTACK_COLUMNS, MAP_COLUMNS, SWAP_COLUMNS])
def test_columns_of_a_table_have_different_names(columns):
    names = column_names(columns)
    assert names[0] == "run"
    assert len(set(names)) == len(names)


def test_a_number_is_printed_with_its_bounds_if_they_are_known():
    row = pd.Series({"moved": 0.25, "moved_lo": 0.2, "moved_hi": 0.3})
    assert format_with_bounds(row, "moved", "{:.2f}".format) == "0.25 (0.20 … 0.30)"
    row["moved_lo"] = float("nan")
    assert format_with_bounds(row, "moved", "{:.2f}".format) == "0.25"
