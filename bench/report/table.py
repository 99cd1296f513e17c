"""The board as cells of a table: headings, text for people, and values for sorting. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.common.number_format import points
from bench.common.uniform_map import is_below_uniform
from bench.evaluation.column import BOUNDS, Column, reorder
from bench.evaluation.columns import (
    ATTN,
    BASELINE_NAME,
    COLUMN_BY_NAME,
    COLUMNS,
    COMMAND,
    COMMITS,
    DATASET,
    DIAGONAL_LSTM,
    DIFFERENCE,
    MASK_CORRECTNESS,
    PR_AREA,
    PUBLISHED_ACCURACY,
    PUBLISHED_SOURCE,
    RANK,
    RECIPE,
    SEEDS,
    STATUS,
    TPR,
    UNIFORM,
    VARIANT,
)
from bench.report.groups import BoardEntry, ComparisonGroup, number

MISSING = "–"
RANK_DOC = (
    "1 + the number of rows with the same data set, recipe and queries that are significantly more accurate, as on the "
    "board. “=” marks a rank that several of these rows share."
)
_OVER = "over the seeds that both have, with its 95 % interval."
_IN_HEADINGS = (VARIANT, DATASET, BASELINE_NAME)
"""Columns that the title of a section, or the heading of the difference, replaces."""
_ORDERED = reorder(
    (column for column in COLUMNS if column.report_heading), {ATTN: VARIANT, PR_AREA: TPR, RECIPE: SEEDS}
)
REPORT_COLUMNS = [
    replace(column, doc=RANK_DOC) if column.name == RANK else column
    for column in _ORDERED
    if column.name not in _IN_HEADINGS
]
"""The columns that the report shows, in its order."""
_DETAILS = (DIAGONAL_LSTM, COMMITS)
"""Columns that differ between rows only in technical details. They are shown with the command."""
NOT_SORTABLE = (COMMAND,)


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        name: name of its column.
        text: what is shown.
        value: what the table is sorted by; "" if the value is missing.
        extra: what is shown after `text`, in small letters.
        note: a remark after that; it is a warning in a column of numbers.
        numeric: whether the column has numbers.
    """

    name: str
    text: str
    value: str
    extra: str = ""
    note: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Section:
    """The rows of a comparison group.

    Attributes:
        title: title of the group.
        shared: settings that are equal in all rows, with their value, unless they are equal in the whole table.
        rows: the cells of each row.
    """

    title: str
    shared: list[tuple[Column, str]]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """The table of a board.

    Attributes:
        columns: the columns that are shown.
        sections: the rows of each comparison group.
        shared: settings that are equal in all rows, with their value. They are shown once, above the table.
    """

    columns: list[Column]
    sections: list[Section]
    shared: list[tuple[Column, str]]

    @property
    def rows(self) -> list[list[Cell]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]


def table(groups: Sequence[ComparisonGroup]) -> Table:
    """Return the table of these groups, with those columns that have a value in any row.

    The status is only shown if a run is not finished. Settings that are equal in all rows of a group are no columns.
    """
    entries = [entry for group in groups for entry in group.entries]
    values = {column: [_value(column, entry) for entry in entries] for column in REPORT_COLUMNS}
    columns = [column for column, found in values.items() if any(value is not None for value in found)]
    columns = [c for c in columns if c.name != STATUS or any(value != "ok" for value in values[c])]
    settings = [c for c in columns if c.setting]
    alike = [c for c in settings if len(set(map(str, values[c]))) == 1]
    by_group = [c for c in settings if c not in alike and all(_is_shared(c, group) for group in groups)]
    shown = [c for c in columns if c not in (*alike, *by_group) and c.name not in _DETAILS]
    return Table(
        [_named(column, entries) for column in shown],
        [
            Section(
                group.title,
                [(c, str(value)) for c in by_group if (value := _value(c, group.entries[0])) is not None],
                [[_cell(c, entry) for c in shown] for entry in group.entries],
            )
            for group in groups
        ],
        [(column, str(values[column][0])) for column in alike],
    )


def _is_shared(column: Column, group: ComparisonGroup) -> bool:
    """Return whether all rows of a group have the same value."""
    return len({str(_value(column, entry)) for entry in group.entries}) == 1


def _named(column: Column, entries: Sequence[BoardEntry]) -> Column:
    """Return a column with the name of the baseline in its heading, if it is the difference to it."""
    baseline = next((name for entry in entries if (name := entry.row.get(BASELINE_NAME))), None)
    if column.name != DIFFERENCE or baseline is None:
        return column
    return replace(column, report_heading=f"− {baseline}, points", doc=f"Accuracy minus that of {baseline}, {_OVER}")


def _value(column: Column, entry: BoardEntry) -> Any:
    return entry.recipe if column.name == RECIPE else entry.row.get(column.name)


def _cell(column: Column, entry: BoardEntry) -> Cell:
    value = _value(column, entry)
    if column.name == COMMAND:
        named = [(COLUMN_BY_NAME[name].report_heading, entry.row.get(name)) for name in _DETAILS]
        details = "; ".join(f"{heading}: {text}" for heading, text in named if text is not None)
        return Cell(column.name, str(value or MISSING), str(value or ""), note=details)
    if value is None:
        return Cell(column.name, MISSING, "", numeric=column.number_format is not None)
    if column.number_format is None:
        extra = f"({entry.letter})" if column.name == RECIPE and entry.letter else ""
        return Cell(column.name, str(value), str(value), extra)
    exact = number(float(value)) if not isinstance(value, str) else None
    if exact is None:
        return Cell(column.name, str(value), "", numeric=True)
    text = entry.rank if column.name == RANK else column.number_format(exact)
    share, uniform = number(entry.row.get(MASK_CORRECTNESS)), number(entry.row.get(UNIFORM))
    is_below = column.name == MASK_CORRECTNESS and is_below_uniform(share, uniform)
    note = "below uniform" if is_below else ""
    return Cell(column.name, text, repr(exact), _extra(column, entry.row), note, numeric=True)


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
