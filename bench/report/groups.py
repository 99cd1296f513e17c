"""Results and their board → what is set side by side: each contest with its entries, each entry with its runs. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.config import stages
from bench.leaderboard.aggregate import KEY, RIVALS, key_of
from bench.runs.validation import is_number


@dataclass(frozen=True)
class Entry:
    """A row of the board. `label` names it among its rivals; `runs`: the results it is made of, by seed."""

    label: str
    row: dict[str, Any]
    runs: tuple[dict[str, Any], ...]

    @property
    def finished(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["status"] == "ok"]


@dataclass(frozen=True)
class Contest:
    """Rows that are ranked against each other, best first; `title` says what they share."""

    title: str
    variant: str
    dataset: str
    entries: tuple[Entry, ...]


def contests(board: pd.DataFrame, results: Sequence[dict[str, Any]]) -> list[Contest]:
    """The contests of a board, in its order, with the results that it was made of."""
    runs: dict[tuple, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda result: (result["seed"], result["run"])):
        runs.setdefault(_key(key_of(result), KEY), []).append(result)
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows_of(board):
        groups.setdefault(_key(row, RIVALS), []).append(row)
    several = len({key[1] for key in groups}) < len(groups)
    return [
        Contest(
            _title(rows[0]) if several else rows[0]["dataset"],
            rows[0]["variant"],
            rows[0]["dataset"],
            tuple(
                Entry(label, row, tuple(runs.get(_key(row, KEY), ())))
                for label, row in zip(_labels(rows), rows, strict=True)
            ),
        )
        for rows in groups.values()
    ]


def _title(row: Mapping[str, Any]) -> str:
    """What the rows of a contest share, to be read: "mbg-…: fast, epochs=4; after mref-…: fast"."""
    parted = (stage.partition(",") for stage in stages(f"{row['dataset']},{row['recipe']}"))
    told = [data + ": " + how.replace(",", ", ") for data, _, how in parted]
    return "; after ".join(told) + ("" if row["queries"] == "one" else f"; queries {row['queries']}")


def rows_of(board: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a board; what is missing is None."""
    return [{str(k): None if missing(v) else v for k, v in row.items()} for row in board.to_dict("records")]


def missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, pandas' NA, an infinity."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float) and not math.isfinite(value)


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else a record may hold."""
    return float(value) if is_number(value) else None


def fraction(value: Any) -> float | None:
    """A number in 0 … 1, or None for whatever else a record may hold."""
    return float(value) if is_number(value, 0, 1) else None


def _key(row: Mapping[str, Any], names: Iterable[str]) -> tuple:
    return tuple(None if missing(row.get(name)) else str(row[name]) for name in names)


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each row's mechanism, with whatever else tells it from its rivals."""
    differing = [name for name in KEY if name != "attn" and len({str(row[name]) for row in rows}) > 1]
    return [", ".join(str(row[name]) for name in ("attn", *differing)) for row in rows]
