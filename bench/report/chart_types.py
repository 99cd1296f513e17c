"""The parts of a chart of the report. They contain what to draw, not how; `chart.html` draws them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.svg_layout import Frame, Point, Word

MIN_POINTS = 2
"""Minimal number of points of a curve, and of mechanisms in a chart of points. Smaller ones are not drawn."""


@dataclass(frozen=True)
class Line:
    """A polyline. `kind` is its style: measured, published, link, training, level, or that of an attacked region."""

    path: str
    kind: str


@dataclass(frozen=True)
class Mark:
    """A measured (disc), published (hollow diamond) or ended (cross) value, or a region's; `text` describes it."""

    at: Point
    kind: str
    text: str


@dataclass(frozen=True)
class Panel:
    """The part of a chart that belongs to one entry.

    Attributes:
        name: name of the entry.
        note: a short text after the name.
        lines: polylines.
        marks: marks.
        bars: intervals (x, y of the lower end, y of the upper end).
    """

    name: str
    note: str
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    bars: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Figure:
    """Panels with common axes.

    Attributes:
        frame: size and axes.
        panels: the panels.
        heading: heading of the table of the chart's numbers.
        rows: rows of this table.
        others: paths of all entries, drawn faintly in each panel.
        words: names in the chart.
        left_out: entries that are not shown, because they have too few values.
        note: number of values that are not drawn, because they are not finite or out of range.
    """

    frame: Frame
    panels: tuple[Panel, ...]
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    left_out: tuple[str, ...] = ()
    note: str = ""


def measured_paths(panels: Iterable[Panel]) -> tuple[str, ...]:
    """Return all measured lines, which each panel shows faintly."""
    return tuple(line.path for panel in panels for line in panel.lines if line.kind == "measured")
