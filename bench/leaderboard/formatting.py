"""Boards as text: CSV that is read back without loss, and tables for people, for a terminal or in Markdown."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from bench.common.uniform_map import is_below_uniform
from bench.config import DEFAULT_BASELINE, PRECISIONS, training_stages
from bench.evaluation.column import BOUNDS, Column, reorder
from bench.evaluation.columns import (
    ACCURACY,
    ATTN,
    BACKGROUNDS,
    BASELINE_NAME,
    COLUMN_BY_NAME,
    COLUMNS,
    COMMAND,
    COMMITS,
    DATASET,
    DELTA,
    DEVICE,
    DIAGONAL_LSTM,
    DIFFERENCE,
    DIGITS,
    MASK_CORRECTNESS,
    NOTE,
    PRECISION,
    PUBLISHED_SOURCE,
    QUERIES,
    RANK,
    RECIPE,
    RELATIVE_RUNTIME,
    SEEDS,
    STATUS,
    TRAIN_STEP_MS,
    UNIFORM,
    VARIANT,
)
from bench.evaluation.record_keys import OK
from bench.leaderboard.aggregate import GROUP_KEY
from bench.leaderboard.missing_differences import explain_missing_differences
from bench.leaderboard.recipe_text import describe_trainings
from bench.leaderboard.statistics import MIN_RELIABLE_SEEDS
from bench.tasks.variant_names import has_questions
from mnistref.common.text_table import table
from mnistref.variants import VARIANTS, is_changed

_BEFORE = {DELTA: PUBLISHED_SOURCE, DIGITS: RECIPE, BACKGROUNDS: RECIPE}
_TEXT_COLUMNS = reorder((column for column in COLUMNS if column.text_heading), _BEFORE)
"""The columns of tables for a terminal. The ratio of times precedes the time, which depends on the load."""
_MARKDOWN_COLUMNS = reorder(_TEXT_COLUMNS, {TRAIN_STEP_MS: RELATIVE_RUNTIME})
"""The columns of Markdown tables. Their order is that of saved boards, which `bench leaderboard --check` compares."""
_BELOW = "↓"
"""The mark of a mask correctness that is below the uniform map's."""
_ABOVE = reorder((c for c in _TEXT_COLUMNS if c.above_text), {DIGITS: UNIFORM, BACKGROUNDS: UNIFORM})
"""The columns that are shown above a table if all its rows have the same value, in their order there."""
_BOUNDED_IN_TEXT = (ACCURACY, DIFFERENCE)
"""The columns whose interval is in text tables."""
BOUNDS_HEADING = "95 %"
_STRING_COLUMNS = frozenset(column.name for column in COLUMNS if column.number_format is None)
"""Columns of text, which may look like numbers."""
_INTEGER_COLUMNS = tuple(column.name for column in COLUMNS if column.integer)
FEW_SEEDS = (
    f"rows with fewer than {MIN_RELIABLE_SEEDS} seeds have intervals that are too narrow, because few runs do not show "
    "how much seeds differ; the interval of a row with one seed does not contain this variation at all"
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(board: pd.DataFrame) -> str:
    """Return the board as CSV, from which `from_csv` restores every number.

    Text that a spreadsheet would execute as a formula is prefixed with an apostrophe.
    """
    escaped = board.map(_escape_formula)
    has_returns = escaped.map(lambda value: isinstance(value, str) and "\r" in value).any(axis=None)
    quoting = csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
    return str(escaped.to_csv(index=False, lineterminator="\n", quoting=quoting))


def from_csv(text: str) -> pd.DataFrame:
    """Return the board of a CSV text, the inverse of `to_csv`. Columns with non-numeric values stay text."""
    board = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, na_values=[""])
    for name in board.columns:
        if name in _STRING_COLUMNS:
            board[name] = board[name].map(_unescape_formula)
            continue
        try:
            board[name] = board[name].map(float, na_action="ignore").astype(float)
        except ValueError:
            board[name] = board[name].map(_unescape_formula)
    return board.astype({name: "Int64" for name in _INTEGER_COLUMNS if name in board})


def _escape_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA_STARTS) else value


def _unescape_formula(value: object) -> object:
    if isinstance(value, str) and value[:1] == "'" and _escape_formula(value[1:]) == value:
        return value[1:]
    return value


def to_text(board: pd.DataFrame, markdown: bool = False, baseline: str = DEFAULT_BASELINE) -> str:
    """Return short tables for people, one per data set, followed by notes.

    Args:
        board: the board.
        markdown: whether the tables are Markdown, as in saved boards.
        baseline: the mechanism that others are compared with. A note for a terminal names it if it has no run.
    """
    datasets = board.groupby([VARIANT, DATASET], sort=False, dropna=False)
    parts = [_dataset_table(rows, markdown) for _, rows in datasets]
    notes = [*([] if markdown else _terminal_notes(board)), *_notes(board, None if markdown else baseline)]
    parts.append("\n".join(notes))
    return "\n\n".join(filter(None, parts))


def _terminal_notes(board: pd.DataFrame) -> list[str]:
    """Return the notes on marks and times of tables for a terminal."""
    notes = []
    if any(_find_below_uniform(board)):
        notes.append(f"{_BELOW} below the uniform map")
    if board[TRAIN_STEP_MS].notna().sum() > 1:
        time, ratio = (COLUMN_BY_NAME[name].text_heading for name in (TRAIN_STEP_MS, RELATIVE_RUNTIME))
        notes.append(
            f"{time} depends on the load of the machine during the run; compare {ratio}, for which the network and the "
            "baseline were timed in turn"
        )
    return notes


def _find_below_uniform(board: pd.DataFrame) -> list[bool]:
    """Return for each row whether its mask correctness is below that of a uniform map."""
    pairs = board[[MASK_CORRECTNESS, UNIFORM]].itertuples(index=False)
    return [not pd.isna([share, uniform]).any() and is_below_uniform(share, uniform) for share, uniform in pairs]


def _dataset_table(board: pd.DataFrame, markdown: bool) -> str:
    """Return the table of a data set.

    Settings that all rows share stand above it. If recipes differ, letters stand for them, explained below the table.
    """
    asks = has_questions(str(board[VARIANT].iloc[0]))
    board = board.assign(**{RECIPE: board[RECIPE].map(describe_trainings(board[RECIPE].unique(), asks))})
    letters = {recipe: to_letters(number) for number, recipe in enumerate(board[RECIPE].unique())}
    columns = _text_cells(board if asks else board.assign(**{QUERIES: None}), letters, markdown)
    above_headings = [column.text_heading for column in _ABOVE]
    distinct = {heading: set(cells) - {""} for heading, cells in columns if heading in above_headings}
    shared = {heading: cells.pop() for heading, cells in distinct.items() if len(cells) == 1}
    above = [str(board[DATASET].iloc[0]), *(f"{name} {shared[name]}" for name in above_headings if name in shared)]
    shown = [[heading, *cells] for heading, cells in columns if any(cells) and heading not in shared]
    lines = [[escape_markup(cell, markdown) for cell in line] for line in zip(*shown, strict=True)]
    below = [f"{'- ' * markdown}{letter}: {recipe}" for recipe, letter in letters.items() if len(letters) > 1]
    parts = ["### " * markdown + escape_markup("; ".join(above), markdown), table(lines, markdown)]
    return "\n\n".join(filter(None, [*parts, "\n".join(escape_markup(line, markdown) for line in below)]))


def _text_cells(board: pd.DataFrame, letters: dict[str, str], markdown: bool) -> list[tuple[str, list[str]]]:
    """Return the heading and the cells of each column of a text table."""
    baseline = next((name for name in board[BASELINE_NAME] if isinstance(name, str)), None)
    columns: list[tuple[str, list[str]]] = []
    for column in _MARKDOWN_COLUMNS if markdown else _TEXT_COLUMNS:
        heading = column.text_heading.format(baseline=baseline)
        if column.name == RECIPE and len(letters) > 1:  # first, because ranks are among the rows of one recipe
            columns.insert(0, (heading, [letters[recipe] for recipe in board[RECIPE]]))
            continue
        usual = {STATUS: OK, PRECISION: PRECISIONS[0]}.get(column.name)
        hidden = usual is not None and (board[column.name] == usual).all()
        cells = [] if hidden else _cells(board[column.name], column)
        if column.name == MASK_CORRECTNESS and not markdown:
            below = _find_below_uniform(board)
            cells = [cell + _BELOW * is_below for cell, is_below in zip(cells, below, strict=True)]
        columns.append((heading, cells))
        if column.name in _BOUNDED_IN_TEXT:
            low, high = (_cells(board[f"{column.name}{suffix}"], column) for suffix in BOUNDS)
            bounds = [f"{lo} … {hi}" if lo else "" for lo, hi in zip(low, high, strict=True)]
            columns.append((BOUNDS_HEADING, bounds))
    return columns


def _cells(values: Iterable[object], column: Column) -> list[str]:
    """Return the values of a column as text."""
    number_format = column.number_format or str
    return [format_value(value, number_format) for value in values]


def to_letters(number: int) -> str:
    """Return a, b, … z, aa, ab, … for 0, 1, … ."""
    return (to_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def commands_to_text(board: pd.DataFrame) -> str:
    """Return the command that repeats each row. Runs whose weights another row starts from come first."""
    rows = board[board[COMMAND].notna()].to_dict("records")
    rows.sort(key=lambda row: len(training_stages(row[RECIPE])))
    recipes = {
        asks: describe_trainings((row[RECIPE] for row in rows if has_questions(row[VARIANT]) == asks), asks)
        for asks in (True, False)
    }
    headings = []
    for row in rows:
        recipe = recipes[has_questions(row[VARIANT])][row[RECIPE]]
        headings.append(escape_markup(f"{row[ATTN]} on {row[DATASET]}, {recipe}", markdown=False))
    lines = [f"# {heading}\n{row[COMMAND]}" for heading, row in zip(headings, rows, strict=True)]
    for placeholder, column in (("DIGITS", DIGITS), ("PHOTOS", BACKGROUNDS)):
        named = [row[column] for row in rows if f" {placeholder} " in row[COMMAND]]
        if named:
            known = {escape_markup(str(name), markdown=False) for name in named if pd.notna(name)}
            folders = ", ".join(sorted(known))
            same = "other files give data sets with other names"
            lines.insert(0, f"# {placeholder} is your folder{': ' * bool(folders)}{folders}; {same}")
    return "\n".join(lines)


def has_ties(board: pd.DataFrame) -> bool:
    """Return whether rows of a comparison group have the same rank."""
    return bool(board[board[RANK].notna()].duplicated([*GROUP_KEY, RANK]).any())


def _notes(board: pd.DataFrame, baseline: str | None) -> list[str]:
    """Return the notes that are necessary to interpret the numbers of a board."""
    notes = []
    compared = board[board[BASELINE_NAME].notna()]
    if reason := explain_missing_differences(board, baseline):
        notes.append(reason)
    elif compared.groupby(GROUP_KEY)[SEEDS].nunique().gt(1).any():
        notes.append("differences are over the seeds that both rows have, accuracies over all seeds of the row")
    if compared[DIFFERENCE].notna().any() and compared[SEEDS].min() == 1:
        notes.append("p is over seeds (two seeds give at least 0.5); with one seed, it is over its questions")
    if has_ties(board):
        notes.append(
            "rows of a recipe with the same rank (#) do not differ significantly: no interval of a paired difference "
            "lies above zero"
        )
    if (board[SEEDS] < MIN_RELIABLE_SEEDS).any():
        notes.append(FEW_SEEDS)
    notes += _kernel_notes(board)
    commits = sorted({commit for row in board[COMMITS].dropna() for commit in str(row).split("; ")})
    if len(commits) > 1:
        notes.append(
            f"made with {len(commits)} commits of bench (column commits of the CSV file): {', '.join(commits)}"
        )
    changed = board[board[NOTE].map(is_changed)].drop_duplicates(DATASET)
    notes += [
        escape_markup(f"{dataset} is {note}", False)
        for dataset, note in zip(changed[DATASET], changed[NOTE], strict=True)
    ]
    return notes + variant_notes(board[VARIANT].unique())


def _kernel_notes(board: pd.DataFrame) -> list[str]:
    """Return a note for each row in which the diagonal LSTM did not run in the kernel for the row's device."""
    notes = []
    for attn, dataset, device, ran in board[[ATTN, DATASET, DEVICE, DIAGONAL_LSTM]].itertuples(index=False):
        best = ("cpu", "amx") if device == "cpu" else ("triton",)
        implementations = {} if pd.isna(ran) else dict.fromkeys(re.split("[,;] ", ran))
        others = [name for name in implementations if name not in best]
        if others:
            notes.append(
                f"{attn} on {dataset}: the diagonal LSTM ran as {' and '.join(others)}, not only as {best[0]}, "
                "the kernel for this device"
            )
    return list(dict.fromkeys(notes))


def variant_notes(names: Iterable[str]) -> list[str]:
    """Return the notes on variants that have one."""
    return [f"{name} is {VARIANTS[name].note}" for name in names if name in VARIANTS and VARIANTS[name].note]


def escape_markup(text: str, markdown: bool) -> str:
    """Return text without control characters, and in Markdown without HTML tags."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain.replace("<", "&lt;") if markdown else plain


def format_value(value: Any, number_format: Callable[[Any], str]) -> str:
    """Return a value as text; "" if it is missing."""
    return "" if pd.isna(value) else number_format(value)
