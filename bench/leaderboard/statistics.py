"""How far the numbers of a board can be trusted: intervals, a test of differences, and groups that differ. Pure.

Shapes: S seeds, T test questions. Values f8 (S, T): what the network of each seed made of each question, such as 1 for
a right answer. Networks of one seed saw the same data in the same order and began with the same weights where they are
alike, and all were asked the same questions, so that differences are taken pair by pair.

Seeds and questions are both drawn at random, and crossed: a bootstrap sample draws seeds, and apart from them questions
(Owen, Annals of Applied Statistics 1, 2007: the pigeonhole bootstrap). Of few seeds it sees too little of how seeds
differ: intervals of fewer than `FEW` are too narrow. Of one seed they are about that one network.

Bounds are finite or NaN, and never just one of them NaN. They lie within the range of the values, with the mean between
them. NaN stands for what is unknown: without values, with a value that is not finite, and of one question unless all
values are alike, because one question tells nothing of how questions differ.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, Philox

try:
    from scipy import stats
except ImportError:  # a checkout on a machine with the core packages alone
    stats = None

CONFIDENCE = 0.95
FEW = 5
"""Seeds, below which a board says that its intervals are too narrow."""
RESAMPLES = 1999
_BLOCKS = 500
"""Into so many blocks of neighbours questions are gathered, which are drawn as one: those about one image stay
together, and a bootstrap takes milliseconds."""
_SEED = 20181126
_NEAR = 1e-9
"""A weighed difference that is so near to a whole one differs from it by rounding."""


class Interval(NamedTuple):
    """Bounds between which a mean lies with `CONFIDENCE`."""

    lo: float
    hi: float


UNKNOWN = Interval(math.nan, math.nan)


def interval(values: np.ndarray, paired: bool = False, most: float = 1.0) -> Interval:
    """The BCa bootstrap interval (Efron, JASA 82, 1987) of the mean of values f8 (S, T) over seeds and questions.

    Where nothing varies, see `_of_one_value`. Where BCa has no bounds, or bounds that leave the mean out, which it has
    of few or very skewed values, the percentiles of the bootstrap, and the mean where they leave it out too. NaN where
    SciPy is missing, and where the module's docstring says so.

    Args:
        values: what each seed made of each question.
        paired: they are differences.
        most: the largest size of a difference.
    """
    values = np.asarray(values, dtype=np.float64)
    if stats is None or not values.size or not np.isfinite(values).all():
        return UNKNOWN
    mean = float(values.mean())
    if np.ptp(values) == 0:
        low, high = _of_one_value(float(values.flat[0]), values.shape[1], paired, most)
    elif values.shape[1] == 1:
        low, high = UNKNOWN
    else:
        low, high = _of_questions(values, mean)
        if paired:  # weighed differences, such as `bench.leaderboard.claims` takes, may go beyond
            low, high = max(low, -most), min(high, most)
    return UNKNOWN if math.isnan(low) else Interval(min(low, mean), max(high, mean))


def _of_questions(values: np.ndarray, mean: float) -> Interval:
    """The bootstrap's bounds of two questions or more, within the range of the values."""
    sums, sizes = _blocks(values)
    if np.ptp(sums / sizes) == 0:
        return Interval(mean, mean)
    found = _bootstrap(sums, sizes)
    low, high = found.confidence_interval
    if not low <= mean <= high:
        low, high = np.quantile(found.bootstrap_distribution, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(max(float(low), float(values.min())), min(float(high), float(values.max())))  # but for rounding


def _bootstrap(sums: np.ndarray, sizes: np.ndarray) -> Any:
    """SciPy's bootstrap of the mean of blocks, see `_blocks`, over seeds (where they differ) and blocks."""
    several = len(sums) > 1 and np.ptp(sums, axis=0).any()
    parts = [np.arange(len(sums))] if several else []

    def mean(*drawn: np.ndarray, axis: int = -1) -> Any:
        blocks = drawn[-1]
        seeds = drawn[0] if several else np.arange(len(sums))[(None,) * (blocks.ndim - 1)]
        share = np.stack([(seeds == k).mean(axis=-1) for k in range(len(sums))], axis=-1)  # of each seed
        each = np.broadcast_to(share @ sums, (*blocks.shape[:-1], sums.shape[1]))
        return np.take_along_axis(each, blocks, -1).sum(-1) / sizes[blocks].sum(-1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values so alike that BCa has no bounds, which `interval` sees
        return stats.bootstrap(
            (*parts, np.arange(sums.shape[1])),
            mean,
            vectorized=True,
            method="BCa",
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            rng=Generator(Philox(_SEED)),
        )


def p_value(values: np.ndarray, baseline: np.ndarray) -> float:
    """The two-sided sign-flip permutation test of the mean difference of paired values f8 (S, T). → p, 0 … 1.

    Under the null hypothesis either network could have been the other: differences change their signs at random, those
    of whole seeds where there are several (2^S ways, all tried if they are few: p is never below 2 ⁄ 2^S), else those
    of the questions of the one seed. Of one seed and one question it is 1: either sign is as likely. NaN without
    values, or where one is not finite.
    """
    found = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    if stats is None or not found.size or not np.isfinite(found).all():
        return math.nan
    sums, sizes = _blocks(found)
    differences = sums.sum(axis=1) / sizes.sum() if len(found) > 1 else sums[0]
    if len(differences) == 1 or not differences.any():
        return 1.0
    tested = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        alternative="two-sided",
        rng=Generator(Philox(_SEED)),
    )
    return float(min(1.0, tested.pvalue))


def ranks(better: Sequence[Sequence[bool]]) -> list[int]:
    """1 + how many others are distinguishably better. `better[i][j]`: whether i is distinguishably better than j.

    Rows of one rank are not distinguished by it: whoever has rank 1 is beaten by nobody for certain.
    """
    return [1 + sum(row[j] for row in better) for j in range(len(better))]


def _blocks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, T) → the sums of each block (S, B), and how many questions are in it (B,)."""
    questions = values.shape[1]
    starts = np.linspace(0, questions, min(_BLOCKS, questions), endpoint=False).astype(np.int64)
    sizes = np.diff(np.append(starts, questions))
    return np.add.reduceat(np.asarray(values, dtype=np.float64), starts, axis=1), sizes.astype(np.float64)


def _of_one_value(value: float, questions: int, paired: bool, most: float) -> Interval:
    """Bounds of the mean of so many questions whose values are all alike.

    Wilson's bounds tell how often other values may have been missed. Shares of 0 and 1 have that as their bounds. Whole
    differences may have missed others that are as far away as `most` allows, to either side. Other values have no
    closed form: the value itself, and unknown of one question.
    """
    whole = round(value)
    if paired and abs(value - whole) < _NEAR and abs(whole) <= most:
        missed = wilson(0.0, questions).hi
        return Interval(whole - missed * (whole + most), whole + missed * (most - whole))
    if not paired and value in (0.0, 1.0):
        return wilson(value, questions)
    return Interval(value, value) if questions > 1 else UNKNOWN


def student(means: Sequence[float]) -> Interval:
    """Student's t interval of the mean of several seeds' shares, f8 (S,), within 0 … 1; NaN of fewer than two."""
    if stats is None or len(means) < 2 or not np.isfinite(means).all():
        return UNKNOWN
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * stats.sem(means))
    return Interval(max(0.0, float(np.mean(means)) - reach), min(1.0, float(np.mean(means)) + reach))


def wilson(share: float, questions: float) -> Interval:
    """Wilson's interval (JASA 22, 1927) of a share of right answers, over the questions alone; NaN without any."""
    if stats is None or not (0 <= share <= 1 and 1 <= questions < math.inf):
        return UNKNOWN
    number = int(questions)
    bounds = stats.binomtest(round(share * number), number).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(min(share, float(bounds.low)), max(share, float(bounds.high)))
