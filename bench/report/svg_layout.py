"""Positions of the lines, marks and names of a chart. Pure.

Lengths are in units of the chart's view box, with y downwards, rounded to a tenth.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`, with `ticks` (value, text); logarithmic if `log` is true."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str
    log: bool = False

    def part(self, value: float) -> float:
        """Return the position of a value as a fraction of the axis, 0 … 1. Values beyond its ends are clipped."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Frame:
    """Size and axes of a chart. The margins leave room for the text of the ticks."""

    x: Axis
    y: Axis
    width: float = 240.0
    height: float = 170.0
    left: float = 34.0
    right: float = 12.0
    top: float = 8.0
    bottom: float = 34.0

    @property
    def inner(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of the plot area."""
        return self.left, self.top, self.width - self.right, self.height - self.bottom

    def at(self, x: float, y: float) -> Point:
        """Return the position of a pair of values."""
        left, top, right, bottom = self.inner
        return (
            round(left + self.x.part(x) * (right - left), 1),
            round(bottom - self.y.part(y) * (bottom - top), 1),
        )

    def path(self, values: Iterable[Point]) -> str:
        """Return the points of a polyline through these values, in SVG syntax."""
        return " ".join(f"{x:g},{y:g}" for x, y in (self.at(*value) for value in values))

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Position and text of each tick of the x axis."""
        return [(self.at(value, self.y.low)[0], words) for value, words in self.x.ticks]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Position and text of each tick of the y axis."""
        return [(self.at(self.x.low, value)[1], words) for value, words in self.y.ticks]


def share_axis(values: Iterable[float], title: str) -> Axis:
    """Return an axis of fractions, labelled in percent, that encloses the values within 0 … 1."""
    found = list(values) or [0.0, 1.0]
    low, high = max(0.0, min(found) - 0.02), min(1.0, max(found) + 0.02)
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.25) if (high - low) / s <= 5 or s == 0.25)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    high = max(high, low + step)
    ticks = [low + k * step for k in range(round((high - low) / step) + 1)]
    return Axis(low, high, tuple((t, f"{100 * t:.0f}") for t in ticks), title)


def whole_number_axis(most: int, title: str) -> Axis:
    """Return an axis of whole numbers from 1 to `most`."""
    if most <= 1:
        return Axis(0.5, 1.5, ((1.0, "1"),), title)
    step = next(s * 10**k for k in range(9) for s in (1, 2, 5) if most / (s * 10**k) <= 6)
    ticks = [1, *(t for t in range(step, most + 1, step) if t - 1 >= step / 2)]
    return Axis(1, most, tuple((float(t), str(t)) for t in dict.fromkeys(ticks)), title)


def power_axis(values: Iterable[float], title: str) -> Axis:
    """Return a logarithmic axis that encloses positive values, with ticks at few powers of ten or between them."""
    found = list(values) or [1.0]
    low, high = min(found) / 1.15, max(found) * 1.35
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,)):
        ticks = [s * 10.0**k for k in range(-9, 10) for s in steps if low <= s * 10.0**k <= high]
        if len(ticks) <= 9:
            break
    return Axis(low, high, tuple((t, f"{t:g}") for t in ticks), title, log=True)


@dataclass(frozen=True)
class Word:
    """A name next to its mark; `anchor` as in SVG."""

    x: float
    y: float
    text: str
    anchor: str = "start"


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def place_names(
    names: Sequence[tuple[Point, str]], frame: Frame, occupied: Iterable[Box], letter: float = 6.6
) -> list[Word]:
    """Return names next to their marks, such that no name covers another name or an occupied box.

    Args:
        names: position of the mark, and name.
        frame: size and axes.
        occupied: boxes that names must not cover.
        letter: width of a letter.

    Returns:
        The names; a name without free space is omitted.
    """
    left, top, right, bottom = frame.inner
    taken = [(x - 5, y - 5, x + 5, y + 5) for (x, y), _ in names] + list(occupied)
    words = []
    for (x, y), text in names:
        for dx, dy, anchor in _AROUND:
            width = letter * len(text)
            start = x + dx - {"start": 0, "middle": width / 2, "end": width}[anchor]
            box = (start, y + dy - 9, start + width, y + dy + 3)
            inside = left <= box[0] and box[2] <= right and top <= box[1] and box[3] <= bottom
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                words.append(Word(round(x + dx, 1), round(y + dy, 1), text, anchor))
                break
    return words


_AROUND = [
    (8.0, 4.0, "start"),
    (-8.0, 4.0, "end"),
    (0.0, -9.0, "middle"),
    (0.0, 17.0, "middle"),
    (8.0, -7.0, "start"),
    (8.0, 15.0, "start"),
    (-8.0, -7.0, "end"),
    (-8.0, 15.0, "end"),
]


def _overlap(first: Box, second: Box) -> bool:
    """Return whether two boxes overlap."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
