"""How far the numbers of a board can be trusted: intervals, a test of differences, and groups that differ. Pure.

Shapes: S seeds, T test questions. Values f8 (S, T): what the network of each seed made of each question, such as 1 for
a right answer. Networks of one seed saw the same data in the same order and began with the same weights where they are
alike, and all were asked the same questions, so that differences are taken pair by pair.

Seeds and questions are both drawn at random, and crossed: a bootstrap sample draws seeds, and apart from them questions
(Owen, Annals of Applied Statistics 1, 2007: the pigeonhole bootstrap). Of few seeds it sees too little of how seeds
differ: intervals of fewer than `FEW` are too narrow. Of one seed they are about that one network.
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


class Interval(NamedTuple):
    """Bounds between which a mean lies with `CONFIDENCE`."""

    lo: float
    hi: float


UNKNOWN = Interval(math.nan, math.nan)


def interval(values: np.ndarray, paired: bool = False) -> Interval:
    """The BCa bootstrap interval (Efron, JASA 82, 1987) of the mean of values f8 (S, T) over seeds and questions.

    Where nothing varies: of values that are all 0 or all 1 Wilson's over the T questions, of others the value itself.
    `paired`: of differences, where all that are 0 may have missed as rare ones to either side. NaN where SciPy is
    missing.
    """
    if stats is None:
        return UNKNOWN
    if np.ptp(values) == 0:
        found = _of_one_value(float(values.flat[0]), values.shape[1])
        return Interval(-found.hi, found.hi) if paired and not values.any() else found
    sums, sizes = _blocks(values)
    if np.ptp(sums / sizes) == 0:
        return Interval(float(values.mean()), float(values.mean()))
    several = len(values) > 1 and np.ptp(sums, axis=0).any()
    parts = [np.arange(len(values))] if several else []

    def mean(*drawn: np.ndarray, axis: int = -1) -> Any:
        blocks = drawn[-1]
        seeds = drawn[0] if several else np.arange(len(values))[(None,) * (blocks.ndim - 1)]
        share = np.stack([(seeds == k).mean(axis=-1) for k in range(len(values))], axis=-1)  # of each seed
        each = np.broadcast_to(share @ sums, (*blocks.shape[:-1], sums.shape[1]))
        return np.take_along_axis(each, blocks, -1).sum(-1) / sizes[blocks].sum(-1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values so alike that BCa has no bounds, see below
        found = stats.bootstrap(
            (*parts, np.arange(sums.shape[1])),
            mean,
            vectorized=True,
            method="BCa",
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            rng=Generator(Philox(_SEED)),
        )
    low, high = found.confidence_interval
    if np.isnan(low + high):
        low, high = np.quantile(found.bootstrap_distribution, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def p_value(values: np.ndarray, baseline: np.ndarray) -> float:
    """The two-sided sign-flip permutation test of the mean difference of paired values f8 (S, T). → p, 0 … 1.

    Under the null hypothesis either network could have been the other: differences change their signs at random, those
    of whole seeds where there are several (2^S ways, all tried if they are few: p is never below 2 ⁄ 2^S), else those
    of the questions of the one seed.
    """
    if stats is None:
        return math.nan
    sums, sizes = _blocks(values - baseline)
    differences = sums.sum(axis=1) / sizes.sum() if len(values) > 1 else sums[0]
    if not differences.any():
        return 1.0
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        alternative="two-sided",
        rng=Generator(Philox(_SEED)),
    )
    return float(min(1.0, found.pvalue))


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


def _of_one_value(value: float, questions: int) -> Interval:
    if value not in (0.0, 1.0):
        return Interval(value, value)
    return wilson(value, questions)


def student(means: Sequence[float]) -> Interval:
    """Student's t interval of the mean of several seeds' shares, f8 (S,), within 0 … 1."""
    if stats is None:
        return UNKNOWN
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * stats.sem(means))
    return Interval(max(0.0, float(np.mean(means)) - reach), min(1.0, float(np.mean(means)) + reach))


def wilson(share: float, questions: int) -> Interval:
    """Wilson's interval (JASA 22, 1927) of a share of right answers, over the questions alone."""
    if stats is None:
        return UNKNOWN
    right = round(share * questions)
    bounds = stats.binomtest(right, int(questions)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(bounds.low), float(bounds.high))
