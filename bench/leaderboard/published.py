"""The papers' own numbers, for setting beside measured ones. From `published.csv`: accuracies there are in percent."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

PAPERS = ("ARNN", "PAN")
"""Whose number counts where both print one: ARNN's, which has every mechanism in one table."""


@dataclass(frozen=True)
class Published:
    """One printed value: accuracies as fractions in 0 … 1."""

    value: float
    source: str


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str, str], Published]:
    """(paper, variant, attn, measure) → value; a supplement is its paper's."""
    rows = csv.DictReader(files("bench.leaderboard").joinpath("published.csv").read_text(encoding="utf-8").splitlines())
    table = {}
    for row in rows:
        percent = row["measure"].startswith("accuracy") or row["measure"] == "tpr"
        value = float(row["value"]) / 100 if percent else float(row["value"])
        paper = next(paper for paper in PAPERS if row["source"].startswith(paper))
        table[paper, row["variant"], row["attn"], row["measure"]] = Published(round(value, 6), row["source"])
    return table


def published(variant: str, attn: str, measure: str = "accuracy", papers: Sequence[str] = PAPERS) -> Published | None:
    """What the first of the papers that says anything of a mechanism on a variant prints, or None."""
    said = (_table().get((paper, variant, attn, measure)) for paper in papers)
    return next(filter(None, said), None)
