"""The section of swapped questions: for each run with a record of `bench swap`, its numbers in words. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION
from bench.common.number_format import more, percent, share
from bench.evaluation.columns import DATASET
from bench.leaderboard.question_columns import IMAGES, MAXIMAL_CHANGE, VERDICT, format_with_bounds
from bench.leaderboard.swap_table import build_swap_table
from bench.runs.swap_record import SwapRecord


@dataclass(frozen=True)
class SwapText:
    """What is said of a run.

    Attributes:
        title: name of the run.
        verdict: whether the map depends on the question, a sentence.
        sentences: the numbers.
    """

    title: str
    verdict: str
    sentences: list[str]


def swap_texts(records: Iterable[tuple[str, SwapRecord]]) -> list[SwapText]:
    """Return the text about each run.

    Args:
        records: name of the run, and its record.
    """
    rows = ((name, build_swap_table([(name, record)]).iloc[0]) for name, record in records)
    return [SwapText(name, f"{_capitalized(row[VERDICT])}.", _sentences(row)) for name, row in rows]


def _sentences(row: pd.Series) -> list[str]:
    own1, other1, other2, own2 = (format_with_bounds(row, name, share) for name in MASSES)
    right1, right2 = (format_with_bounds(row, name, percent) for name in RIGHTS)
    area1, area2 = (share(row[name]) for name in AREAS)
    moved = format_with_bounds(row, MOVED, more)
    return [
        f"{row[IMAGES]:,} test images of {row[DATASET]} were asked two questions each. "
        f"{right1} % of the answers to question 1 are right, and {right2} % of those to question 2.",
        f"With question 1, {own1} of the map lies on digit 1 and {other1} on digit 2. "
        f"With question 2, {other2} lies on digit 1 and {own2} on digit 2. "
        f"A uniform map has {area1} on digit 1 and {area2} on digit 2.",
        f"Question 2 changes the share on digit 2 by {moved}. "
        f"The total variation of the two maps is {format_with_bounds(row, TOTAL_VARIATION, share)}. "
        f"Their largest difference, as a share of their maximum, is on average "
        f"{format_with_bounds(row, LARGEST_CHANGE, share)}, and at most {row[MAXIMAL_CHANGE]:.2g} in any image.",
    ]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
