"""The table of columns: every column of a board, of a result and of `bench runtime` has exactly one entry."""

import re
from pathlib import Path

import pytest

import bench
from bench.evaluation.column import BOUNDS, QUARTILES
from bench.evaluation.columns import (
    COLUMN_BY_NAME,
    COLUMNS,
    COSTS,
    COUNTS,
    MAP_METRICS,
    MAP_SCORES,
    SCALES,
    board_columns,
)
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import from_csv
from bench.profiling.benchmark import RUNTIME_COLUMNS
from bench.report.table import REPORT_COLUMNS
from tests.bench.leaderboard.helpers import result
from tests.helpers import TOP


def entry(name: str) -> str:
    """Return the name of the entry of a column, which may be a bound or a quartile of another column."""
    for suffix in (*BOUNDS, *QUARTILES):
        if name.endswith(suffix) and name not in COLUMN_BY_NAME:
            return name.removesuffix(suffix)
    return name


def test_column_names_are_unique_and_documented():
    assert len(COLUMN_BY_NAME) == len(COLUMNS)
    for column in COLUMNS:
        assert re.fullmatch(r"[^\n]+\.", column.doc), column.name
        assert column.number_format or column.higher_is_better is None, column.name


def test_every_column_of_a_board_has_an_entry():
    names = list(build_board([result()]).columns)
    assert names == board_columns()
    assert len(set(names)) == len(names)
    for name in names:
        assert entry(name) in COLUMN_BY_NAME, name
        assert name == entry(name) or COLUMN_BY_NAME[entry(name)].bounded, name


@pytest.mark.parametrize("board", sorted((TOP / "results").rglob("board.csv")), ids=lambda path: path.parent.name)
def test_every_column_of_the_boards_of_this_project_has_an_entry(board):
    names = list(from_csv(board.read_text()).columns)
    assert {entry(name) for name in names} <= set(COLUMN_BY_NAME)
    assert [name for name in board_columns() if name in names] == names


def test_every_metric_has_a_format_a_direction_and_an_interval_if_questions_have_values():
    for name in ("accuracy", *SCALES, *MAP_METRICS, *COSTS):
        column = COLUMN_BY_NAME[name]
        assert column.number_format is not None, name
        assert column.higher_is_better is (name not in COSTS), name
        assert column.bounded == (name not in (*COSTS, "mask_correctness_uniform", "pr_area")), name
    assert all(COLUMN_BY_NAME[name].integer for name in COUNTS)


def test_lists_of_metrics_follow_the_flags_of_the_columns():
    assert MAP_METRICS == ("mask_correctness", "mask_correctness_uniform", "tpr", "pointing", "pr_area")
    assert MAP_SCORES == ("mask_correctness", "tpr", "pointing")
    assert COSTS == ("relative_runtime", "train_step_ms", "infer_ms_per_image", "peak_memory_mb")
    for name in ("accuracy", *SCALES, *MAP_METRICS):
        low, high = COLUMN_BY_NAME[name].value_range
        assert (low, high) == (0, 1), name


def test_views_show_columns_of_the_table_once():
    for columns in (REPORT_COLUMNS, RUNTIME_COLUMNS):
        assert len({column.name for column in columns}) == len(columns)
        assert {column.name for column in columns} <= {column.name for column in COLUMNS}


def test_metric_names_are_spelled_only_in_the_table():
    """Code outside the table uses its constants. Docstrings are not checked, nor examples, which show a user's code.

    `record_types.py` declares the keys of a `Result`, which mypy compares with the constants.
    """
    metrics = {name for name in (*MAP_METRICS, *COSTS, *SCALES, *COUNTS) if name not in ("pointing",)}
    for path in Path(bench.__path__[0]).rglob("*.py"):
        if path.name not in ("columns.py", "record_types.py") and path.parent.name != "examples":
            strings = set(re.findall(r'(?<!")"([a-z_0-9.]+)"(?!")', path.read_text()))
            assert strings & metrics <= exported(path), path


def exported(path: Path) -> set[str]:
    """Return the names in `__all__` of a module."""
    return {"mask_correctness"} if path.name == "metrics.py" else set()
