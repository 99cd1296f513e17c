"""A board as text: CSV that reads back as it was, and tables for people, in a terminal or in Markdown."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from bench.common.number_format import amount, chance, more, percent, points, ratio, share
from bench.config import training_stages
from bench.evaluation.metric_names import (
    COUNTS,
    MASK_CORRECTNESS,
    POINTING,
    PR_AREA,
    RELATIVE_RUNTIME,
    SHOWN_OF_MAPS,
    STEP,
    TPR,
    UNIFORM,
)
from bench.leaderboard.aggregate import RIVALS
from bench.leaderboard.claims import ClaimResult
from bench.leaderboard.statistics import FEW, Interval
from mnistref.common.text_table import table
from mnistref.variants import VARIANTS

_MAP_HEADS = {MASK_CORRECTNESS: "mask", UNIFORM: "uniform map", TPR: "TPR", POINTING: "pointing", PR_AREA: "PR area"}
_SHARED = ("digits", "backgrounds", "uniform map", "recipe", "queries", "hardware")
"""Heads of columns whose cells stand above a table where they are all alike."""
LEGEND = """A table for each data set; what its rows share stands above it. #: rank among the rows of one recipe. 95 %:
the bounds of the number before it. mask: mask correctness, the share of all attention that lies on the digit asked
about; uniform map: what it is where a network looks everywhere alike. TPR, pointing, PR area: other measures of where
it looks. step ms: a training step; × san: that over a step of `san` of the same width, timed turn by turn with it.
published %: what the papers print (where both do, ARNN's number); delta: how far from it."""
_FEW = f"fewer than {FEW} seeds: intervals see too little of how seeds differ; of one seed, nothing of it"
_WORDS = (
    *("variant", "attn", "baseline", "published_source", "status", "recipe", "queries", "dataset", "digits"),
    *("backgrounds", "device", "hardware", "precision", "capture", "diagonal_lstm", "bench_version", "commits"),
    *("note", "command"),
)
"""Columns of words, which may look like numbers."""
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
    board = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, na_values=[""])
    for name in board.columns:
        if name in _WORDS:
            board[name] = board[name].map(_plain)
            continue
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
    """Short tables for people, one for each data set: percentages, and below them what must be known to read them."""
    sets = board.groupby(["variant", "dataset"], sort=False, dropna=False)
    parts = [*(_of_one_set(rows, markdown) for _, rows in sets), "\n".join(_notes(board))]
    return "\n\n".join(filter(None, parts))


def _of_one_set(board: pd.DataFrame, markdown: bool) -> str:
    """A table of these rows; what all of them share stands above it, and recipes that differ below."""

    def told(name: str, written: Callable[[Any], str] = str) -> list[str]:
        return [_shown(value, written) for value in board[name]]

    def bounds(name: str, written: Callable[[float], str]) -> list[str]:
        pairs = zip(*(told(f"{name}_{end}", written) for end in Interval._fields), strict=True)
        return [f"{low} … {high}" if low else "" for low, high in pairs]

    base = next((name for name in board["baseline"] if isinstance(name, str)), None)
    letters = {recipe: _letter(number) for number, recipe in enumerate(board["recipe"].unique())}
    alike = len(letters) == 1
    recipes = ("recipe", told("recipe", str if alike else letters.__getitem__))
    columns = [
        *(() if alike else [recipes]),  # before the ranks, which are among those of one
        ("#", told("rank")),
        ("attn", told("attn")),
        ("seeds", told("seeds")),
        ("accuracy %", told("accuracy", percent)),
        ("95 %", bounds("accuracy", percent)),
        (f"− {base}", told("difference", points)),
        ("95 %", bounds("difference", points)),
        ("p", told("p_value", chance)),
        *((_MAP_HEADS[name], told(name, share)) for name in SHOWN_OF_MAPS),
        ("step ms", told(STEP, amount)),
        ("× san", told(RELATIVE_RUNTIME, ratio)),
        ("published %", told("published_accuracy", percent)),
        ("delta", told("delta", points)),
        ("source", told("published_source")),
        ("status", [] if (board["status"] == "ok").all() else told("status")),
        ("digits", told("digits")),
        ("backgrounds", told("backgrounds")),
        *([recipes] if alike else ()),
        ("queries", told("queries")),
        ("hardware", told("hardware")),
    ]
    differing = {head: set(cells) - {""} for head, cells in columns if head in _SHARED}
    shared = {head: cells.pop() for head, cells in differing.items() if len(cells) == 1}
    above = [str(board["dataset"].iloc[0]), *(f"{head} {shared[head]}" for head in _SHARED if head in shared)]
    kept = [[head, *cells] for head, cells in columns if any(cells) and head not in shared]
    lines = [[_visible(cell, markdown) for cell in line] for line in zip(*kept, strict=True)]
    below = [] if alike else [f"{'- ' * markdown}{letter}: {recipe}" for recipe, letter in letters.items()]
    parts = ["### " * markdown + _visible("; ".join(above), markdown), table(lines, markdown)]
    return "\n\n".join(filter(None, [*parts, "\n".join(_visible(line, markdown) for line in below)]))


def _letter(number: int) -> str:
    """a … z, aa, ab …"""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def claims_to_text(found: list[ClaimResult], markdown: bool = False) -> str:
    """What came of each claim, a table for each place where it was asked."""
    heads = ["claim", "where it stands", "compared", "measure", "seeds", "difference", "95 %", "published", "verdict"]
    parts = []
    for where in dict.fromkeys(claim.where for claim in found):
        lines = [heads]
        for claim in (claim for claim in found if claim.where == where):
            written = more if claim.measure == MASK_CORRECTNESS else points
            numbers = claim.difference, *claim.bounds
            difference, low, high = (_shown(number, written) for number in numbers)
            words = [claim.claim, claim.source, claim.compared, claim.measure.replace("_", " "), str(claim.seeds)]
            bounds = f"{low} … {high}" if low else ""
            lines.append([*words, difference, bounds, _shown(claim.printed, written), claim.verdict])
        lines = [[_visible(cell, markdown) for cell in line] for line in lines]
        parts.append(f"{'### ' * markdown}{_visible(where, markdown)}\n\n{table(lines, markdown)}")
    notes = ["differences of accuracy in points, of mask correctness in shares; 95 % over seeds and questions"]
    notes += [_FEW] * any(claim.seeds < FEW for claim in found)
    notes += _of_variants(dict.fromkeys(claim.where.partition("-")[0] for claim in found))
    return "\n\n".join([*parts, "\n".join(notes)])


def commands(board: pd.DataFrame) -> str:
    """For each row the command that repeats it; what others begin with comes before them."""
    rows = board[board["command"].notna()].to_dict("records")
    rows.sort(key=lambda row: len(training_stages(row["recipe"])))
    heads = [_visible(f"{row['attn']} on {row['dataset']}, {row['recipe']}", markdown=False) for row in rows]
    lines = [f"# {head}\n{row['command']}" for head, row in zip(heads, rows, strict=True)]
    for word, of in (("DIGITS", "digits"), ("PHOTOS", "backgrounds")):
        named = [row[of] for row in rows if f" {word} " in row["command"]]
        if named:
            folders = ", ".join(sorted({_visible(str(name), markdown=False) for name in named if pd.notna(name)}))
            same = "with other files the data sets have other names"
            lines.insert(0, f"# {word} stands for a folder of yours{': ' * bool(folders)}{folders}; {same}")
    return "\n".join(lines)


def tied(board: pd.DataFrame) -> bool:
    """Whether rivals have the same rank."""
    return bool(board[board["rank"].notna()].duplicated([*RIVALS, "rank"]).any())


def _notes(board: pd.DataFrame) -> list[str]:
    notes = []
    compared = board[board["baseline"].notna()]
    if len(board) > 1 and board["difference"].isna().all():
        notes.append(
            "no differences: no other row has the data set, recipe and queries of a single row of the baseline; "
            "--baseline names another"
        )
    elif compared.groupby(RIVALS)["seeds"].nunique().gt(1).any():
        notes.append("a difference is over the seeds that both rows have, an accuracy over all of its row's")
    if compared["difference"].notna().any() and compared["seeds"].min() == 1:
        notes.append("p is over seeds, of which two can give no less than 0.5; of one seed, over its questions")
    if tied(board):
        notes.append(
            "rows of one recipe and rank (#) are not distinguishable: no higher accuracy has a lead whose interval, "
            "over paired seeds, lies above zero"
        )
    if (board["seeds"] < FEW).any():
        notes.append(_FEW)
    notes += _other_kernels(board)
    commits = sorted({commit for row in board["commits"].dropna() for commit in str(row).split("; ")})
    if len(commits) > 1:
        notes.append(f"made with {len(commits)} commits of bench, which the table in CSV names: {', '.join(commits)}")
    return notes + _of_variants(board["variant"].unique())


def _other_kernels(board: pd.DataFrame) -> list[str]:
    """Return a note for each row in which the diagonal LSTM did not run in the kernel for the row's device."""
    notes = []
    for attn, dataset, device, told in board[["attn", "dataset", "device", "diagonal_lstm"]].itertuples(index=False):
        best = "cpu" if device == "cpu" else "triton"
        ran = {} if pd.isna(told) else dict.fromkeys(re.split("[,;] ", told))
        others = [name for name in ran if name != best]
        if others:
            notes.append(
                f"{attn} on {dataset}: the diagonal LSTM ran as {' and '.join(others)}, not as {best} alone, "
                "the kernel for this device"
            )
    return list(dict.fromkeys(notes))


def _of_variants(names: Iterable[str]) -> list[str]:
    return [f"{name} is {VARIANTS[name].note}" for name in names if name in VARIANTS and VARIANTS[name].note]


def _visible(text: str, markdown: bool) -> str:
    """Without what a terminal would obey, or a page take for a tag."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain.replace("<", "&lt;") if markdown else plain


def _shown(value: float, written: Callable[[float], str]) -> str:
    return "" if pd.isna(value) else written(value)
