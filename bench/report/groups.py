"""Comparison groups: the rows of a board that are ranked against each other, with the runs of each row. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.config import training_stages
from bench.leaderboard.aggregate import GROUP_KEY, ROW_KEY, row_key
from bench.runs.record_types import RunRecord
from bench.runs.validation import is_number


@dataclass(frozen=True)
class Entry:
    """A row of the board.

    Attributes:
        label: name of the row, unique in its group.
        row: columns of the board.
        runs: the results of the row, by seed.
    """

    label: str
    row: dict[str, Any]
    runs: tuple[RunRecord, ...]

    @property
    def finished(self) -> list[RunRecord]:
        """The results of finished runs."""
        return [run for run in self.runs if run["status"] == "ok"]


@dataclass(frozen=True)
class ComparisonGroup:
    """Rows that are ranked against each other, best first.

    Attributes:
        title: what the rows have in common.
        variant: the variant.
        dataset: name of the data set.
        entries: the rows.
    """

    title: str
    variant: str
    dataset: str
    entries: tuple[Entry, ...]


def comparison_groups(board: pd.DataFrame, results: Sequence[RunRecord]) -> list[ComparisonGroup]:
    """Return the groups of a board, in its order, with the results of each row."""
    runs: dict[tuple[str | None, ...], list[RunRecord]] = {}
    for result in sorted(results, key=lambda result: (result["seed"], result["run"])):
        runs.setdefault(_key(row_key(result), ROW_KEY), []).append(result)
    groups: dict[tuple[str | None, ...], list[dict[str, Any]]] = {}
    for row in rows_of(board):
        groups.setdefault(_key(row, GROUP_KEY), []).append(row)
    several = len({key[1] for key in groups}) < len(groups)
    return [
        ComparisonGroup(
            _title(rows[0]) if several else rows[0]["dataset"],
            rows[0]["variant"],
            rows[0]["dataset"],
            tuple(
                Entry(label, row, tuple(result for result in runs.get(_key(row, ROW_KEY), ()) if _is_of(result, row)))
                for label, row in zip(_labels(rows), rows, strict=True)
            ),
        )
        for rows in groups.values()
    ]


def _is_of(result: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Return whether a result with the key of a row belongs to it: rows of two formats differ in their versions."""
    return result["bench_version"] in str(row["bench_version"]).split("; ")


def _title(row: Mapping[str, Any]) -> str:
    """Return what the rows of a group have in common, such as "mbg-…: fast, epochs=4; after mref-…: fast"."""
    split_config = (stage.partition(",") for stage in training_stages(f"{row['dataset']},{row['recipe']}"))
    trainings = [data + ": " + recipe.replace(",", ", ") for data, _, recipe in split_config]
    return "; after ".join(trainings) + ("" if row["queries"] == "one" else f"; queries {row['queries']}")


def rows_of(board: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a board, with None for missing values."""
    return [{str(k): None if missing(v) else v for k, v in row.items()} for row in board.to_dict("records")]


def missing(value: Any) -> bool:
    """Return whether a value is None, NaN, pandas' NA, or infinite."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and not math.isfinite(value)


def number(value: Any) -> float | None:
    """Return a finite number; None for any other value."""
    return float(value) if is_number(value) else None


def fraction(value: Any) -> float | None:
    """Return a number in 0 … 1; None for any other value."""
    return float(value) if is_number(value, 0, 1) else None


def _key(row: Mapping[str, Any], names: Iterable[str]) -> tuple[str | None, ...]:
    return tuple(None if missing(row.get(name)) else str(row[name]) for name in names)


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each row its mechanism, and all other columns in which the rows differ."""
    differing = [name for name in ROW_KEY if name != "attn" and len({str(row[name]) for row in rows}) > 1]
    return [", ".join(str(row[name]) for name in ("attn", *differing)) for row in rows]
