"""The result of a claim of the papers: a difference with its interval, and a verdict. Pure."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.evaluation.columns import ACCURACY
from bench.leaderboard.statistics import UNKNOWN, Interval, bootstrap_interval

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
Pair = tuple[str, str]
"""Two mechanisms, or labels of two networks: the one that a claim calls better, and the other one."""


class ComparisonGroup(NamedTuple):
    """What runs share that are compared: the values of `bench.leaderboard.row_key.RowKey` but the mechanism.

    Attributes:
        variant: the variant or task.
        dataset: the folder name of the data set that the networks were trained on.
        recipe: the label of the training.
        queries: which questions are asked.
        computing: precision, capture, device and result format, see `bench.leaderboard.row_key.computing_text`.
    """

    variant: str
    dataset: str
    recipe: str
    queries: str
    computing: str = ""

    @property
    def settings(self) -> str:
        """Recipe, unit of queries and computing as text. One question per image is not mentioned."""
        queries = "" if self.queries == "one" else self.queries
        return ", ".join(filter(None, (self.recipe, queries, self.computing)))


class Place(NamedTuple):
    """The runs that a claim compares, and further images that it is about.

    Attributes:
        group: what the runs share.
        black: folder name of the data set without clutter, if a claim compares two of them; "" otherwise.
        tested: name of the images that a record is about, if these are not those of the group; "" otherwise.
    """

    group: ComparisonGroup
    black: str = ""
    tested: str = ""

    def __str__(self) -> str:
        """Return data sets, recipe and unit of queries as text."""
        before, after = self.black and f"{self.black} → ", self.tested and f" → {self.tested}"
        return f"{before}{self.group.dataset}, {self.group.settings}{after}"


@dataclass(frozen=True)
class ClaimResult:
    """A claim and its evaluation.

    Attributes:
        claim: the claim in words.
        source: where a paper states it.
        place: the runs that are compared.
        compared: "better − worse".
        metric: name of the measure that is compared, such as accuracy.
        seeds: number of seeds that both mechanisms have.
        difference: the mean difference in −1 … 1; differences of two leads are in −2 … 2.
        bounds: its 95 % interval; NaN if it is unknown.
        published: the difference of the published values; NaN if there are none.
        multiplications: how often each of both networks multiplies for one image, None if that is not known; () if the
            claim does not compare it.
        missing: what was not run; "" if both networks were.
        note: a remark that tables print below; "" for none.
    """

    claim: str
    source: str
    place: Place
    compared: str
    metric: str
    seeds: int
    difference: float
    bounds: Interval
    published: float = math.nan
    multiplications: tuple[int | None, ...] = ()
    missing: str = ""
    note: str = ""

    @property
    def group(self) -> str:
        """The data sets and the recipe as text."""
        return str(self.place)

    @property
    def verdict(self) -> str:
        """`HOLDS` if the interval is above 0, `FAILS` if it is below 0, otherwise `UNDECIDED`; or `NOT_RUN`."""
        if self.missing:
            return NOT_RUN
        return HOLDS if self.bounds.lo > 0 else FAILS if self.bounds.hi < 0 else UNDECIDED


@dataclass(frozen=True)
class Statement:
    """A claim about two mechanisms, where a paper states it, and the runs that it is evaluated on."""

    claim: str
    source: str
    place: Place
    compared: Pair


def evaluate(
    statement: Statement,
    values: np.ndarray,
    published: float,
    max_difference: float = 1.0,
    images: np.ndarray | None = None,
) -> ClaimResult:
    """Return the result of a claim about accuracy.

    Args:
        statement: the claim.
        values: paired differences, f8 (S, T).
        published: the difference of the published values; NaN if there are none.
        max_difference: the largest possible magnitude of a difference.
        images: the image of each question, see `bench.leaderboard.statistics.bootstrap_interval`.
    """
    bounds = bootstrap_interval(values, paired=True, max_difference=max_difference, images=images)
    mean = float(values.mean())
    return ClaimResult(
        claim=statement.claim,
        source=statement.source,
        place=statement.place,
        compared=" − ".join(statement.compared),
        metric=ACCURACY,
        seeds=len(values),
        difference=mean,
        bounds=bounds,
        published=published,
    )


def not_run(statement: Statement, missing: str, published: float) -> ClaimResult:
    """Return the result of a claim that no runs compare, because a network is missing."""
    return ClaimResult(
        claim=statement.claim,
        source=statement.source,
        place=statement.place,
        compared=" − ".join(statement.compared),
        metric=ACCURACY,
        seeds=0,
        difference=math.nan,
        bounds=UNKNOWN,
        published=published,
        missing=missing,
    )
