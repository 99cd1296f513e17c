"""The table of swapped questions: where each question's map lies, and how much the two maps differ. Pure."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from bench.attribution.swap import AREAS, LARGEST_CHANGE, MASSES, MOVED, RIGHTS, SAME_MAP, TOTAL_VARIATION
from bench.common.number_format import more, percent, share
from bench.leaderboard.statistics import mean_with_bounds
from bench.runs.swap_record import SwapRecord
from mnistref.common.text_table import table

RUN, VERDICT = "run", "verdict"
MAPS_CHANGED, MAXIMAL_CHANGE = "maps_changed", "maximal_change"
_BOUNDED = (*MASSES, MOVED, TOTAL_VARIATION, LARGEST_CHANGE)


def build_swap_table(records: Iterable[tuple[str, SwapRecord]]) -> pd.DataFrame:
    """Return one row for each run.

    Args:
        records: name of the run, and its record.

    Returns:
        Columns: run, dataset, images; the measures of `bench.attribution.swap.Swap`, the share of images whose map
            changes (`maps_changed`), and the accuracy of each answer (`right1`, `right2`), with their bounds; the areas
            of the digits; the largest relative change of all images (`maximal_change`); and the verdict in words.
    """
    rows = []
    for run, record in records:
        row: dict[str, object] = {RUN: run}
        row |= {name: record.settings[name] for name in ("dataset", "images")}
        changes = record.measures[LARGEST_CHANGE]
        bounded = {name: record.measures[name] for name in _BOUNDED} | {MAPS_CHANGED: changes >= SAME_MAP}
        for name, values in (bounded | dict(record.right)).items():
            row |= mean_with_bounds(name, values)
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
        cells = [_format_with_bounds(row, mass, share) for mass in masses]
        lines.append([f"question {k}", *cells, _format_with_bounds(row, right, percent)])
    lines.append(["area", *(share(row[name]) for name in AREAS), ""])
    changes = [
        ["change of the map from question 1 to 2", ""],
        ["mass moved to digit 2", _format_with_bounds(row, MOVED, more)],
        ["total variation", _format_with_bounds(row, TOTAL_VARIATION, share)],
        ["largest change, as a share of the maximum", _format_with_bounds(row, LARGEST_CHANGE, share)],
        ["images whose map changes, %", _format_with_bounds(row, MAPS_CHANGED, percent)],
    ]
    gap = [""] * markdown
    heading = f"{row[RUN]}: {row['images']:,} test images of {row['dataset']}, two questions about each"
    largest = f"largest relative change of any image: {row[MAXIMAL_CHANGE]:.1e}"
    return "\n".join(
        [heading, *gap, table(lines, markdown), "", table(changes, markdown), "", f"{row[VERDICT]} ({largest})"]
    )


def _format_with_bounds(row: pd.Series, name: str, number_format: Callable[[float], str]) -> str:
    low, high = row[f"{name}_lo"], row[f"{name}_hi"]
    bounds = f" ({number_format(low)} … {number_format(high)})" if pd.notna(low) else ""
    return f"{number_format(row[name])}{bounds}"
