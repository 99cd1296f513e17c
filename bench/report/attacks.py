"""The section of attacks: for each run with a record of `bench attack`, the fooling rates over ε. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from bench.attribution.attack_names import REGIONS
from bench.common.number_format import percent, share
from bench.evaluation.columns import ACCURACY, DATASET
from bench.leaderboard.attack_table import build_attack_table
from bench.leaderboard.question_columns import (
    ACCURACY_BEFORE,
    AREA,
    FOOLING,
    IMAGES,
    METHOD,
    NORM,
    REGION,
    format_with_bounds,
)
from bench.leaderboard.question_words import count_tested
from bench.report.chart_types import Figure, Line, Mark, Panel
from bench.report.svg_layout import Axis, Frame, share_axis
from bench.runs.attack_record import AttackRecord

_MARGIN = 1.25
"""Factor by which the axis of ε exceeds the smallest and the largest norm."""
_DODGE = 1.04
"""Factor between the positions of regions of one norm, so that their intervals do not cover each other."""
_TICK_DISTANCE = 0.09
"""Minimal distance of the texts of two norms, as a part of the axis."""


@dataclass(frozen=True)
class RegionKey:
    """An entry of the legend: the style of a region's line, its name, what it is, and its share of the image."""

    kind: str
    name: str
    meaning: str
    area: str


@dataclass(frozen=True)
class AttackChart:
    """The chart of a run.

    Attributes:
        title: name of the run.
        questions: how the rates were measured.
        key: the legend.
        figure: a panel for each method, with a line for each region.
    """

    title: str
    questions: str
    key: list[RegionKey]
    figure: Figure


def attack_charts(records: Iterable[tuple[str, AttackRecord]]) -> list[AttackChart]:
    """Return the chart of each run.

    Args:
        records: name of the run, and its record.
    """
    return [_chart(name, build_attack_table([(name, record)])) for name, record in records]


def _chart(name: str, board: pd.DataFrame) -> AttackChart:
    first = board.iloc[0]
    areas = board.drop_duplicates(REGION)
    key = [
        RegionKey(_kind(row[REGION]), row[REGION], REGIONS[row[REGION]], share(row[AREA]))
        for _, row in areas.iterrows()
    ]
    right = percent(first[ACCURACY_BEFORE])
    questions = f"{count_tested(first[IMAGES], first[DATASET])}, {right} % right before an attack."
    return AttackChart(name, questions, key, _figure(board))


def _figure(board: pd.DataFrame) -> Figure:
    regions, methods = list(dict.fromkeys(board[REGION])), list(dict.fromkeys(board[METHOD]))
    frame = Frame(_norm_axis(sorted(set(board[NORM]))), share_axis([0.0, 1.0], "answers that change, %"), height=190.0)
    panels = [_panel(frame, str(method), board[board[METHOD] == method], regions) for method in methods]
    heading = ("attack", *(f"{region}, %" for region in regions), *(f"{region}, right, %" for region in regions))
    rows = []
    for (method, norm), group in board.groupby([METHOD, NORM], sort=False):
        by_region = {row[REGION]: row for _, row in group.iterrows()}
        cells = (
            format_with_bounds(by_region[region], measure, percent)
            for measure in (FOOLING, ACCURACY)
            for region in regions
        )
        rows.append((f"{method}, ε {norm:g}", *cells))
    return Figure(frame, tuple(panels), heading, tuple(rows))


def _panel(frame: Frame, method: str, board: pd.DataFrame, regions: list[str]) -> Panel:
    lines, marks = [], []
    for k, region in enumerate(regions):
        kind, rows = _kind(region), [row for _, row in board[board[REGION] == region].iterrows()]
        at = [row[NORM] * _DODGE ** (k - (len(regions) - 1) / 2) for row in rows]
        lines.append(Line(frame.path((x, row[FOOLING]) for x, row in zip(at, rows, strict=True)), kind))
        for x, row in zip(at, rows, strict=True):
            low, high = row[f"{FOOLING}_lo"], row[f"{FOOLING}_hi"]
            if pd.notna(low):
                lines.append(Line(frame.path([(x, low), (x, high)]), f"bounds {kind}"))
            text = f"{region}, ε {row[NORM]:g}: {format_with_bounds(row, FOOLING, percent)} %"
            marks.append(Mark(frame.at(x, row[FOOLING]), kind, text))
    return Panel(method, "", tuple(lines), tuple(marks))


def _norm_axis(norms: list[float]) -> Axis:
    """Return the logarithmic axis of ε, with ticks at the norms."""
    axis = Axis(norms[0] / _MARGIN, norms[-1] * _MARGIN, (), "ε, largest change of a pixel, 1/255", log=True)
    ticks: list[tuple[float, str]] = []
    for norm in norms:
        if not ticks or axis.part(norm) - axis.part(ticks[-1][0]) >= _TICK_DISTANCE:
            ticks.append((norm, f"{norm:g}"))
    return Axis(axis.low, axis.high, tuple(ticks), axis.title, log=True)


def _kind(region: str) -> str:
    """Return the style of a region's line and marks."""
    return f"region-{region}"
