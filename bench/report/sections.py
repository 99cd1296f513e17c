"""Sections of a report: the rows of a board on one data set, best first, with the runs of each row. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from bench.evaluation.columns import ACCURACY, ATTN, DATASET, QUERIES, RANK, RECIPE, VARIANT
from bench.evaluation.record_keys import FORMAT, OK
from bench.leaderboard.aggregate import row_formats
from bench.leaderboard.formatting import to_letters
from bench.leaderboard.recipe_text import describe_trainings
from bench.leaderboard.row_key import ROW_KEY, format_of, row_key
from bench.runs.record_types import RunRecord
from bench.runs.validation import is_number
from bench.tasks.variant_names import has_questions

BoardRow: TypeAlias = dict[str, str | int | float | None]
"""Columns of a row of the board by name, with None for missing values. Rows of sections also have `FORMAT`."""
SECTION_KEY = (VARIANT, DATASET, QUERIES)
"""Columns that are equal in all rows of a section: their networks answer the same questions."""
_RUN_KEY = (*ROW_KEY, FORMAT)
"""Entries that are equal in a row and in each of its runs."""


@dataclass(frozen=True)
class BoardEntry:
    """A row of the board.

    Attributes:
        label: name of the row, unique in its section.
        row: columns of the board.
        rank: the rank of the board as text, see `rank_texts`.
        recipe: the recipe in words.
        letter: stands for the recipe in `label`; "" if all rows of the section have the same recipe.
        runs: the results of the row, by seed.
    """

    label: str
    row: BoardRow
    rank: str
    recipe: str
    letter: str
    runs: tuple[RunRecord, ...]

    @property
    def finished(self) -> list[RunRecord]:
        """The results of finished runs."""
        return [run for run in self.runs if run["status"] == OK]


@dataclass(frozen=True)
class BoardSection:
    """Rows whose networks answer the same questions, best first. The rows of each recipe are ranked separately.

    Attributes:
        title: name of the data set, and which questions, if the board has several kinds for it.
        variant: the variant.
        dataset: name of the data set.
        entries: the rows.
    """

    title: str
    variant: str
    dataset: str
    entries: tuple[BoardEntry, ...]

    @property
    def recipes(self) -> dict[str, str]:
        """Letter and description of each recipe; {} if all rows have the same recipe."""
        return {entry.letter: entry.recipe for entry in sorted(self.entries, key=_by_letter) if entry.letter}


def board_sections(board: pd.DataFrame, results: Sequence[RunRecord]) -> list[BoardSection]:
    """Return the sections of a board, in its order, with the results of each row.

    Args:
        board: from `bench.leaderboard.aggregate.build_board`, with all its rows.
        results: the runs of the board.
    """
    runs: dict[tuple[str | None, ...], list[RunRecord]] = {}
    for result in sorted(results, key=lambda result: (result["seed"], result["run"])):
        runs.setdefault(_key({**row_key(result), FORMAT: format_of(result)}, _RUN_KEY), []).append(result)
    recipes = {}
    for asks, same in board.groupby(board[VARIANT].map(has_questions)):
        texts = describe_trainings(same[RECIPE], bool(asks))
        recipes[asks] = {label: text.replace(" ep", "\u00a0ep") for label, text in texts.items()}  # no line break there
    sections: dict[tuple[str | None, ...], list[BoardRow]] = {}
    for row, result_format in zip(rows_of(board), row_formats(board), strict=True):
        sections.setdefault(_key(row, SECTION_KEY), []).append({**row, FORMAT: result_format})
    kinds: dict[str, int] = {}
    for rows in sections.values():
        dataset = str(rows[0][DATASET])
        kinds[dataset] = kinds.get(dataset, 0) + 1
    made = []
    for rows in sections.values():
        rows.sort(key=_by_accuracy)
        own = [tuple(runs.get(_key(row, _RUN_KEY), ())) for row in rows]
        asks = has_questions(str(rows[0][VARIANT]))
        made.append(_section(rows, own, recipes[asks], kinds[str(rows[0][DATASET])] > 1))
    return made


def _section(
    rows: Sequence[BoardRow],
    runs: Sequence[tuple[RunRecord, ...]],
    recipes: Mapping[str, str],
    name_questions: bool,
) -> BoardSection:
    """Return the section of these rows, best first, with the results of each row."""
    several = dict.fromkeys(str(row[RECIPE]) for row in rows)
    letters = {recipe: to_letters(k) if len(several) > 1 else "" for k, recipe in enumerate(several)}
    details = zip(_labels(rows, letters), rows, rank_texts(rows), runs, strict=True)
    variant, dataset, queries = (str(rows[0][name]) for name in SECTION_KEY)
    return BoardSection(
        f"{dataset}, queries {queries}" if name_questions else dataset,
        variant,
        dataset,
        tuple(
            BoardEntry(
                label=label,
                row=row,
                rank=text,
                recipe=recipes[str(row[RECIPE])],
                letter=letters[str(row[RECIPE])],
                runs=results,
            )
            for label, row, text, results in details
        ),
    )


def rank_texts(rows: Sequence[BoardRow]) -> list[str]:
    """Return the board's ranks of the rows of a section as text.

    Examples are "2", "2=" if several rows of the recipe have this rank, and "" for a row without a rank.
    """
    uses = Counter((row[RECIPE], row[RANK]) for row in rows)
    return ["" if row[RANK] is None else f"{row[RANK]}{'=' * (uses[row[RECIPE], row[RANK]] > 1)}" for row in rows]


def _by_accuracy(row: BoardRow) -> tuple[float, str]:
    """Return the sorting key of a row: the best accuracy first, rows without one last."""
    accuracy = number(row[ACCURACY])
    return (math.inf if accuracy is None else -accuracy, str(row[ATTN]))


def _by_letter(entry: BoardEntry) -> tuple[int, str]:
    return len(entry.letter), entry.letter


def rows_of(board: pd.DataFrame) -> list[BoardRow]:
    """Return the rows of a board, with None for missing values."""
    return [{str(k): None if missing(v) else v for k, v in row.items()} for row in board.to_dict("records")]


def missing(value: object) -> bool:
    """Return whether a value is None, NaN, pandas' NA, or infinite."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and not math.isfinite(value)


def number(value: object) -> float | None:
    """Return a finite number; None for any other value."""
    return float(value) if is_number(value) else None


def fraction(value: object) -> float | None:
    """Return a number in 0 … 1; None for any other value."""
    return float(value) if is_number(value, 0, 1) else None


def _key(row: Mapping[str, object], names: Iterable[str]) -> tuple[str | None, ...]:
    return tuple(None if missing(row.get(name)) else str(row[name]) for name in names)


def _labels(rows: Sequence[BoardRow], letters: Mapping[str, str]) -> list[str]:
    """Return for each row its mechanism, the letter of its recipe, and all else in which the rows differ."""
    differing = [name for name in _RUN_KEY if name not in (ATTN, RECIPE) and len({str(row[name]) for row in rows}) > 1]
    names = [f"{row[ATTN]} ({letter})" if (letter := letters[str(row[RECIPE])]) else str(row[ATTN]) for row in rows]
    said = [{**row, FORMAT: f"result format {row[FORMAT]}"} for row in rows]
    return [", ".join([name, *(str(row[key]) for key in differing)]) for name, row in zip(names, said, strict=True)]
