"""The values that the papers print, from `published.csv`, where accuracies and TPR are in percent."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from bench.config import training_stages
from bench.evaluation.columns import ACCURACY, TPR
from mnistref.common.errors import DataProblemError

PAPERS = ("ARNN", "PAN")
"""The papers. If both print a value, ARNN's is used, because it has every mechanism in one table."""


@dataclass(frozen=True)
class PublishedValue:
    """A value that a paper prints. Accuracies are in 0 … 1."""

    value: float
    source: str


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str, str], PublishedValue]:
    """Return (paper, variant, attn, metric) → value."""
    return read_published(files("bench.leaderboard").joinpath("published.csv").read_text(encoding="utf-8"))


def read_published(text: str) -> dict[tuple[str, str, str, str], PublishedValue]:
    """Return (paper, variant, attn, metric) → value, from the text of `published.csv`.

    The first word of a source begins with the name of its paper: the source of a supplement is `ARNN-S`, for example.

    Raises:
        DataProblemError: a source is not in one of `PAPERS`.
    """
    table = {}
    for row in csv.DictReader(text.splitlines()):
        in_percent = row["measure"].startswith(ACCURACY) or row["measure"] == TPR
        value = float(row["value"]) / 100 if in_percent else float(row["value"])
        paper = next((paper for paper in PAPERS if row["source"].startswith(paper)), None)
        if paper is None:
            raise DataProblemError(
                f"published.csv: {row['source']!r} is not a source in {' or '.join(PAPERS)}; "
                "add its paper to PAPERS in bench/leaderboard/published.py"
            )
        table[paper, row["variant"], row["attn"], row["measure"]] = PublishedValue(round(value, 6), row["source"])
    return table


def is_papers_network(recipe: str) -> bool:
    """Return whether a training is of the network whose values the papers print for the variants.

    Args:
        recipe: the label of the training, see `bench.config.RunConfig.training`.
    """
    return ",network=" not in training_stages(recipe)[0]


def find_published(
    variant: str, attn: str, metric: str = ACCURACY, papers: Sequence[str] = PAPERS
) -> PublishedValue | None:
    """Return the value that the first of the papers prints for a mechanism on a variant; None if none prints one."""
    values = (_table().get((paper, variant, attn, metric)) for paper in papers)
    return next(filter(None, values), None)
