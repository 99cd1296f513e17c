"""The table of swapped questions: where each question's map lies, and how much the two maps differ. Pure."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, SAME_MAP, TOTAL_VARIATION
from bench.common.number_format import more, percent, share
from bench.evaluation.columns import DATASET
from bench.leaderboard.question_columns import (
    IMAGES,
    MAPS_CHANGED,
    MAXIMAL_CHANGE,
    RUN,
    VERDICT,
    format_with_bounds,
)
from bench.leaderboard.statistics import mean_with_bounds
from bench.runs.swap_record import SwapRecord
from mnistref.common.text_table import table

_BOUNDED = (*MASSES, MOVED, TOTAL_VARIATION, LARGEST_CHANGE)


def build_swap_table(records: Iterable[tuple[str, SwapRecord]]) -> pd.DataFrame:
    """Return one row for each run.

    Args:
        records: name of the run, and its record.

    Returns:
        The columns of `bench.leaderboard.question_columns.SWAP_COLUMNS`. All shares are in 0 … 1.
    """
    rows = []
    for run, record in records:
        settings: Mapping[str, object] = record.settings
        row: dict[str, object] = {RUN: run}
        row |= {name: settings[name] for name in (DATASET, IMAGES)}
        changes = record.measures[LARGEST_CHANGE]
        bounded = {name: record.measures[name] for name in _BOUNDED} | {MAPS_CHANGED: changes >= SAME_MAP}
        for name, values in (bounded | dict(record.right)).items():
            row |= mean_with_bounds(name, values, paired=name == MOVED, images=record.images)
        row |= {name: float(record.measures[name].mean()) for name in AREAS}
        row |= {MAXIMAL_CHANGE: float(changes.max()), VERDICT: describe_verdict(changes)}
        rows.append(row)
    return pd.DataFrame(rows)


def describe_verdict(changes: np.ndarray) -> str:
    """Return in words whether the map depends on the question.

    Args:
        changes: (T,), the largest relative change of each image's map.
    """
    if (changes < SAME_MAP).all():
        return "the map does not depend on the question"
    return (
        f"the map depends on the question: it changes in {percent(float((changes >= SAME_MAP).mean()))} % of the images"
    )


def swap_table_to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """Return the tables of all runs, one after the other, each with its verdict."""
    return "\n\n".join(_run_to_text(row, markdown) for _, row in board.iterrows())


def _run_to_text(row: pd.Series, markdown: bool) -> str:
    lines = [["", "map on digit 1", "map on digit 2", "right, %"]]
    for k, (masses, right) in enumerate(zip((MASSES[:2], MASSES[2:]), RIGHTS, strict=True), 1):
        cells = [format_with_bounds(row, mass, share) for mass in masses]
        lines.append([f"question {k}", *cells, format_with_bounds(row, right, percent)])
    lines.append(["area", *(share(row[name]) for name in AREAS), ""])
    changes = [
        ["change of the map from question 1 to 2", ""],
        ["mass moved to digit 2", format_with_bounds(row, MOVED, more)],
        ["total variation", format_with_bounds(row, TOTAL_VARIATION, share)],
        ["largest change, as a share of the maximum", format_with_bounds(row, LARGEST_CHANGE, share)],
        ["images whose map changes, %", format_with_bounds(row, MAPS_CHANGED, percent)],
    ]
    gap = [""] * markdown
    heading = f"{row[RUN]}: {row[IMAGES]:,} test images of {row[DATASET]}, two questions about each"
    largest = f"largest relative change of any image: {row[MAXIMAL_CHANGE]:.1e}"
    return "\n".join(
        [heading, *gap, table(lines, markdown), "", table(changes, markdown), "", f"{row[VERDICT]} ({largest})"]
    )
