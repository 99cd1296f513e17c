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
    DEVICE_HOURS,
    DIAGONAL_LSTM,
    DIFFERENCE,
    MASK_CORRECTNESS,
    PR_AREA,
    PUBLISHED_ACCURACY,
    PUBLISHED_SOURCE,
    QUESTIONS_SEEN,
    RANK,
    RECIPE,
    SEEDS,
    STATUS,
    TPR,
    UNIFORM,
    VARIANT,
)
from bench.evaluation.record_keys import OK
from bench.report.sections import BoardEntry, BoardSection, number

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
_DETAILS = [COLUMN_BY_NAME[name] for name in (QUESTIONS_SEEN, DEVICE_HOURS, DIAGONAL_LSTM, COMMITS)]
"""Columns on how the runs were made. They are shown with the command."""
NOT_SORTABLE = (COMMAND,)
_BREAKS = {"correctness": "correct\u00adness", "parameters": "para\u00admeters", "published": "pub\u00adlished"}
"""Long words of headings, with the place where a narrow column breaks them."""


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        name: name of its column.
        text: what is shown.
        value: what the table is sorted by; "" if the value is missing.
        extra: what is shown after `text`, in small letters.
        note: a remark after that; it is a warning in a column of numbers.
        hidden: text that is not shown, but found by the search and read by screen readers.
        numeric: whether the column has numbers.
    """

    name: str
    text: str
    value: str
    extra: str = ""
    note: str = ""
    hidden: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Section:
    """The rows of a section.

    Attributes:
        title: title of the section.
        shared: settings that are equal in all rows, with their value, unless they are equal in the whole table.
        recipes: letter and description of each recipe; [] if all rows have the same recipe.
        rows: the cells of each row.
    """

    title: str
    shared: list[tuple[Column, str]]
    recipes: list[tuple[str, str]]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """The table of a board.

    Attributes:
        columns: the columns that are shown.
        sections: the rows of each section.
        shared: settings that are equal in all rows, with their value. They are shown once, above the table.
    """

    columns: list[Column]
    sections: list[Section]
    shared: list[tuple[Column, str]]

    @property
    def rows(self) -> list[list[Cell]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]


def table(sections: Sequence[BoardSection]) -> Table:
    """Return the table of these sections, with those columns that have a value in any row.

    The status is only shown if a run is not finished. Settings, and the share of a uniform map, that are equal in all
    rows of a section are no columns. A column of recipes has their letters.
    """
    entries = [entry for section in sections for entry in section.entries]
    values = {column: [_value(column, entry) for entry in entries] for column in REPORT_COLUMNS}
    columns = [column for column, found in values.items() if any(value is not None for value in found)]
    columns = [c for c in columns if c.name != STATUS or any(value != OK for value in values[c])]
    settings = [c for c in columns if c.setting or c.name == UNIFORM]
    alike = [c for c in settings if _is_shared(c, entries)]
    by_section = [c for c in settings if c not in alike and all(_is_shared(c, section.entries) for section in sections)]
    shown = [c for c in columns if c not in (*alike, *by_section, *_DETAILS)]
    titled = [*by_section, *(c for c in shown if c.name == RECIPE)]
    return Table(
        [_named(column, entries) for column in shown],
        [
            Section(
                section.title,
                [
                    (c, text)
                    for c in titled
                    if _is_shared(c, section.entries) and (text := _shared_text(c, section.entries))
                ],
                list(section.recipes.items()),
                [[_cell(c, entry) for c in shown] for entry in section.entries],
            )
            for section in sections
        ],
        [(column, _shared_text(column, entries)) for column in alike],
    )


def hyphenate(heading: str) -> str:
    """Return a heading with soft hyphens in its long words."""
    for word, parts in _BREAKS.items():
        heading = heading.replace(word, parts)
    return heading


def _is_shared(column: Column, entries: Sequence[BoardEntry]) -> bool:
    """Return whether all rows have the same value, where rows without maps need no share of a uniform map."""
    texts = {_shared_text(column, [entry]) for entry in entries}
    return len(texts - {""} if column.name == UNIFORM else texts) <= 1


def _shared_values(columns: Sequence[Column], entries: Sequence[BoardEntry]) -> list[tuple[Column, str]]:
    """Return the columns with the same value in all rows, and the value as text, unless it is missing."""
    shared = [(column, _shared_text(column, entries)) for column in columns if _is_shared(column, entries)]
    return [(column, text) for column, text in shared if text]


def _shared_text(column: Column, entries: Sequence[BoardEntry]) -> str:
    """Return the first known value of a column as text; "" if there is none."""
    value = next((value for entry in entries if (value := _value(column, entry)) is not None), None)
    known = number(value) if column.number_format and not isinstance(value, str) else None
    if known is not None and column.number_format:
        return column.number_format(known)
    return "" if value is None else str(value)


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
        named = [(detail.report_heading, _shared_text(detail, [entry])) for detail in _DETAILS]
        details = "; ".join(f"{heading}: {text}" for heading, text in named if text)
        return Cell(column.name, str(value or MISSING), str(value or ""), note=details)
    if value is None:
        return Cell(column.name, MISSING, "", numeric=column.number_format is not None)
    if column.number_format is None:
        if column.name == RECIPE:
            return Cell(column.name, entry.letter, str(value), hidden=str(value))
        return Cell(column.name, str(value), str(value))
    exact = number(float(value)) if not isinstance(value, str) else None
    if exact is None:
        return Cell(column.name, str(value), "", numeric=True)
    rank = f"{entry.rank} ({entry.letter})" if entry.rank and entry.letter else entry.rank
    text = rank if column.name == RANK else column.number_format(exact)
    share, uniform = number(entry.row.get(MASK_CORRECTNESS)), number(entry.row.get(UNIFORM))
    is_below = column.name == MASK_CORRECTNESS and is_below_uniform(share, uniform)
    note = "below uniform" if is_below else ""
    return Cell(column.name, text, repr(exact), _extra(column, entry.row), note, numeric=True)


def _extra(column: Column, row: Mapping[str, object]) -> str:
    """Return the text after a number: a mark, a source, or the bounds of its interval."""
    if column.name == SEEDS:
        return "†" if row[SEEDS] == 1 else ""
    if column.name == PUBLISHED_ACCURACY:
        return str(row.get(PUBLISHED_SOURCE) or "")
    low, high = (number(row.get(f"{column.name}{suffix}")) for suffix in BOUNDS)
    if low is None or high is None or column.number_format is None:
        return ""
    return (" … " if column.number_format is points else "–").join(map(column.number_format, (low, high)))
