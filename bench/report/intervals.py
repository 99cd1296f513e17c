"""Accuracies with their confidence intervals, measured and published. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.common.number_format import percent
from bench.evaluation.column import with_suffixes
from bench.evaluation.columns import COUNTS, SCALES
from bench.leaderboard.published import find_published, is_papers_network
from bench.leaderboard.statistics import wilson_interval
from bench.report.sections import BoardEntry, BoardSection, number
from mnistref.variants import is_changed


@dataclass(frozen=True)
class Rate:
    """A share of right answers, with its 95 % interval if it is known. All values are in 0 … 1."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" ({percent(self.low)}–{percent(self.high)})"
        return percent(self.value) + interval


def rate_of(row: Mapping[str, object], name: str) -> Rate | None:
    """Return a column of a row of the board, with its bounds if it has any; None if it is missing."""
    value, low, high = (number(row.get(column)) for column in with_suffixes([name]))
    if value is None:
        return None
    return Rate(value, low, high) if low is not None and high is not None else Rate(value, None, None)


def rate_at_scale(entry: BoardEntry, name: str) -> Rate | None:
    """Return the accuracy of a row in a scale bin.

    The interval is that of the board. For runs without stored answers it is Wilson's over the images of all seeds.
    """
    rate = rate_of(entry.row, name)
    if rate is None or rate.low is not None or all(run.get("answers") is not None for run in entry.finished):
        return rate
    count = COUNTS[SCALES.index(name)]
    images = sum(number(run.get(count)) or 0.0 for run in entry.finished)
    low, high = map(number, wilson_interval(rate.value, images))
    return Rate(rate.value, low, high) if low is not None and high is not None else rate


def values_and_bounds(rates: Iterable[Rate]) -> list[float]:
    """Return all values and bounds."""
    return [end for rate in rates for end in (rate.low, rate.value, rate.high) if end is not None]


def published_value(section: BoardSection, entry: BoardEntry, measure: str) -> float | None:
    """Return the published value for the mechanism of an entry; None if there is none."""
    if is_changed(entry.row["note"]) or not is_papers_network(str(entry.row["recipe"])):
        return None
    paper = find_published(section.variant, str(entry.row["attn"]), measure)
    return paper.value if paper else None
