"""The board as cells of a table: headings, text for people, and values for sorting. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.common.number_format import points
from bench.evaluation.column import BOUNDS, Column, reorder
from bench.evaluation.columns import (
    ATTN,
    COLUMNS,
    COMMAND,
    DATASET,
    PR_AREA,
    PUBLISHED_ACCURACY,
    PUBLISHED_SOURCE,
    RECIPE,
    SEEDS,
    TPR,
    VARIANT,
)
from bench.report.groups import number

MISSING = "–"
REPORT_COLUMNS = reorder(
    (column for column in COLUMNS if column.report_heading), {ATTN: VARIANT, PR_AREA: TPR, DATASET: RECIPE}
)
"""The columns that the report shows, in its order."""
NOT_SORTABLE = (COMMAND,)


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        name: name of its column.
        text: what is shown.
        value: what the table is sorted by; "" if the value is missing.
        extra: what is shown after `text`, in small letters.
        numeric: whether the column has numbers.
    """

    name: str
    text: str
    value: str
    extra: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """The table of a board.

    Attributes:
        columns: the columns that are shown.
        rows: the cells of each row.
        shared: settings that are equal in all rows, with their value. They are shown once, above the table.
    """

    columns: list[Column]
    rows: list[list[Cell]]
    shared: list[tuple[Column, str]]


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of the rows of a board, with those columns that have a value in any row."""
    columns = [c for c in REPORT_COLUMNS if any(row.get(c.name) is not None for row in rows)]
    alike = [c for c in columns if c.setting and len({str(row.get(c.name)) for row in rows}) == 1]
    shown = [c for c in columns if c not in alike]
    return Table(
        shown,
        [[_cell(column, row) for column in shown] for row in rows],
        [(column, str(rows[0][column.name])) for column in alike],
    )


def _cell(column: Column, row: Mapping[str, Any]) -> Cell:
    value = row.get(column.name)
    if value is None:
        return Cell(column.name, MISSING, "", numeric=column.number_format is not None)
    if column.number_format is None:
        return Cell(column.name, str(value), str(value))
    exact = number(float(value)) if not isinstance(value, str) else None
    if exact is None:
        return Cell(column.name, str(value), "", numeric=True)
    return Cell(column.name, column.number_format(exact), repr(exact), _extra(column, row), numeric=True)


def _extra(column: Column, row: Mapping[str, Any]) -> str:
    """Return the text after a number: a mark, a source, or the bounds of its interval."""
    if column.name == SEEDS:
        return "†" if row[SEEDS] == 1 else ""
    if column.name == PUBLISHED_ACCURACY:
        return str(row.get(PUBLISHED_SOURCE) or "")
    low, high = (number(row.get(f"{column.name}{suffix}")) for suffix in BOUNDS)
    if low is None or high is None or column.number_format is None:
        return ""
    return (" … " if column.number_format is points else "–").join(map(column.number_format, (low, high)))
