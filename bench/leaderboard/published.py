"""The values that the papers print, from `published.csv`, where accuracies and TPR are in percent."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from bench.evaluation.metric_names import ACCURACY, TPR

PAPERS = ("ARNN", "PAN")
"""The papers. If both print a value, ARNN's is used, because it has every mechanism in one table."""


@dataclass(frozen=True)
class PublishedValue:
    """A value that a paper prints. Accuracies are in 0 … 1."""

    value: float
    source: str


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str, str], PublishedValue]:
    """Return (paper, variant, attn, metric) → value. A supplement counts as its paper."""
    rows = csv.DictReader(files("bench.leaderboard").joinpath("published.csv").read_text(encoding="utf-8").splitlines())
    table = {}
    for row in rows:
        in_percent = row["measure"].startswith(ACCURACY) or row["measure"] == TPR
        value = float(row["value"]) / 100 if in_percent else float(row["value"])
        paper = next(paper for paper in PAPERS if row["source"].startswith(paper))
        table[paper, row["variant"], row["attn"], row["measure"]] = PublishedValue(round(value, 6), row["source"])
    return table


def find_published(
    variant: str, attn: str, metric: str = ACCURACY, papers: Sequence[str] = PAPERS
) -> PublishedValue | None:
    """Return the value that the first of the papers prints for a mechanism on a variant; None if none prints one."""
    values = (_table().get((paper, variant, attn, metric)) for paper in papers)
    return next(filter(None, values), None)
