"""A board as text: CSV that reads back as it was, and tables for people, in a terminal or in Markdown."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pandas as pd

from bench.claims import Found
from bench.leaderboard import RIVALS
from bench.measures import COUNTS, MASK_CORRECTNESS, RELATIVE_RUNTIME, SHOWN_OF_MAPS, STEP
from bench.numerals import amount, chance, more, percent, points, ratio, share
from bench.statistics import FEW, Interval
from mnistref.text import table
from mnistref.variants import VARIANTS

_WORDS = ("published_source", "status", "recipe", "queries", "dataset", "hardware")
_FEW = f"fewer than {FEW} seeds: intervals see too little of how seeds differ; of one seed, nothing of it"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(board: pd.DataFrame) -> str:
    """The board as CSV; every number reads back as it was.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    harmless = board.map(_harmless)
    returns = harmless.map(lambda value: isinstance(value, str) and "\r" in value).any(axis=None)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return harmless.to_csv(index=False, lineterminator="\n", quoting=quoting)


def from_csv(text: str) -> pd.DataFrame:
    """The inverse of `to_csv`."""
    board = pd.read_csv(io.StringIO(text), dtype=str)
    for name in board.columns.difference(["commits"]):  # some are digits alone
        try:
            board[name] = board[name].map(float, na_action="ignore").astype(float)
        except ValueError:
            board[name] = board[name].map(_plain)
    return board.astype({name: "Int64" for name in ("rank", "seeds", "params", *COUNTS) if name in board})


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value


def _plain(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" and _harmless(value[1:]) == value else value


def to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """A short table for people: percentages, and below it what must be known to read it."""
    base = next((name for name in board["baseline"] if isinstance(name, str)), None)
    columns = ["#", "variant", "attn", "seeds", "accuracy %", "95 %"]
    columns += [f"− {base}", "95 %", "p"] if base else []
    columns += ["mask", "uniform", "TPR", "pointing", "PR area", "step ms", "× san", "published %", "delta", "source"]
    columns += ["status", "recipe", "queries", "dataset", "hardware"]
    lines = [columns]
    for row in board.to_dict("records"):
        compared = [_shown(row["difference"], points), _bounds(row, "difference", points)]
        lines.append(
            [
                *(_text(row[name]) for name in ("rank", "variant", "attn", "seeds")),
                _shown(row["accuracy"], percent),
                _bounds(row, "accuracy", percent),
                *([*compared, _shown(row["p_value"], chance)] if base else []),
                *(_shown(row[name], share) for name in SHOWN_OF_MAPS),
                _shown(row[STEP], amount),
                _shown(row[RELATIVE_RUNTIME], ratio),
                _shown(row["published_accuracy"], percent),
                _shown(row["delta"], points),
                *(_text(row[name]) for name in _WORDS),
            ]
        )
    notes = _notes(board)
    shown = [[_visible(cell, markdown) for cell in line] for line in lines]
    return table(shown, markdown) + "\n\n" * bool(notes) + "\n".join(notes)


def claims_to_text(found: list[Found], markdown: bool = False) -> str:
    """What came of each claim, a table for each place where it was asked."""
    heads = ["claim", "where it stands", "compared", "measure", "seeds", "difference", "95 %", "printed", "verdict"]
    parts = []
    for where in dict.fromkeys(claim.where for claim in found):
        lines = [heads]
        for claim in (claim for claim in found if claim.where == where):
            written = more if claim.measure == MASK_CORRECTNESS else points
            numbers = claim.difference, *claim.bounds
            difference, low, high = (_shown(number, written) for number in numbers)
            words = [claim.claim, claim.source, claim.compared, claim.measure.replace("_", " "), str(claim.seeds)]
            lines.append([*words, difference, f"{low} … {high}", _shown(claim.printed, written), claim.verdict])
        parts.append(f"{'### ' * markdown}{where}\n\n{table(lines, markdown)}")
    few = any(claim.seeds < FEW for claim in found)
    parts += ["differences of accuracy in points, of mask correctness in shares; 95 % over seeds and questions"]
    return "\n\n".join(parts) + (f"\n{_FEW}" if few else "")


def commands(board: pd.DataFrame) -> str:
    """For each row the command that repeats it; what others begin with comes before them."""
    rows = board[board["command"].notna()].to_dict("records")
    rows.sort(key=lambda row: row["recipe"].count("init=("))
    lines = [f"# {row['attn']} on {row['dataset']}, {row['recipe']}\n{row['command']}" for row in rows]
    for word, of in (("DIGITS", "digits"), ("PHOTOS", "backgrounds")):
        folders = {str(row[of]) for row in rows if f" {word} " in row["command"]}
        if folders:
            same = "with other files the data sets have other names"
            lines.insert(0, f"# {word} stands for a folder of yours: {', '.join(sorted(folders))}; {same}")
    return "\n".join(lines)


def _notes(board: pd.DataFrame) -> list[str]:
    notes = []
    if len(board) > 1 and board["difference"].isna().all():
        notes.append("no differences: no rows are rivals of just one row of the baseline; name one with --baseline")
    if board.duplicated([*RIVALS, "rank"]).any():
        notes.append("rows of one rank (#) are not distinguishable: no paired difference has an interval above zero")
    if (board["seeds"] < FEW).any():
        notes.append(_FEW)
    commits = sorted({commit for row in board["commits"].dropna() for commit in str(row).split("; ")})
    if len(commits) > 1:
        notes.append(f"made with {len(commits)} commits of bench, which the table in CSV names: {', '.join(commits)}")
    known = [name for name in board["variant"].unique() if name in VARIANTS and VARIANTS[name].note]
    return notes + [f"{name} is {VARIANTS[name].note}" for name in known]


def _bounds(row: dict[str, Any], name: str, written: Callable[[float], str]) -> str:
    low, high = (_shown(row[f"{name}_{end}"], written) for end in Interval._fields)
    return f"{low} … {high}" if low else ""


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _visible(text: str, markdown: bool) -> str:
    """Without what a terminal would obey, or a page take for a tag."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain.replace("<", "&lt;") if markdown else plain


def _shown(value: float, written: Callable[[float], str]) -> str:
    return "" if pd.isna(value) else written(value)
