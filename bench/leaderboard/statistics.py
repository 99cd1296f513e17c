"""Statistics of a board: confidence intervals, a test of differences, and ranks. Pure.

Shapes: S seeds, T test questions. Values are f8 (S, T), one for each seed's network and question, such as 1 for a right
answer. Networks of one seed see the same data in the same order, start from the same weights in their common layers,
and answer the same questions. Differences between networks are therefore computed pair by pair.

Seeds and questions are crossed random factors: a bootstrap sample draws seeds and, independently, questions (the
pigeonhole bootstrap: Owen, Annals of Applied Statistics 1, 2007). Answers to questions about one image are not
independent, so these questions are drawn together. With fewer than `MIN_RELIABLE_SEEDS` seeds, intervals
underestimate the variation between seeds and are too narrow. With one seed, they describe that network only.

Bounds are finite, or both are NaN. They lie within the range of the values and enclose the mean. NaN means unknown:
there are no values, a value is not finite, or there is a single image with differing values, which gives no information
about the variation between images.
"""

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, Philox

from bench.evaluation.column import BOUNDS

try:
    from scipy import stats
except ImportError:  # intervals and p-values are then unknown
    stats = None

CONFIDENCE = 0.95
MIN_RELIABLE_SEEDS = 5
"""With fewer seeds, a board notes that its intervals are too narrow."""
RESAMPLES = 1999
"""Number of bootstrap samples."""
FLIPS = 9999
"""Number of random ways to flip signs, if there are more ways than that."""
_BLOCKS = 500
"""Maximal number of blocks of consecutive images. A bootstrap sample draws whole blocks, so that it takes
milliseconds."""
_SEED = 20181126
_INTEGER_TOLERANCE = 1e-9
"""A weighted difference this close to an integer differs from it only by rounding."""


class Interval(NamedTuple):
    """The bounds of a confidence interval of a mean, at the level `CONFIDENCE`."""

    lo: float
    hi: float


UNKNOWN = Interval(math.nan, math.nan)


def bootstrap_interval(
    values: np.ndarray, paired: bool = False, max_difference: float = 1.0, images: np.ndarray | None = None
) -> Interval:
    """Return the bootstrap interval of the mean over seeds and questions.

    The method is BCa (Efron, JASA 82, 1987). For few or very skewed values, BCa may have no bounds, or bounds that
    exclude the mean; then percentiles of the bootstrap are returned, extended to the mean if necessary. For equal
    values, see `_constant_interval`.

    Args:
        values: f8 (S, T).
        paired: whether the values are differences of pairs.
        max_difference: the largest possible magnitude of a difference.
        images: the image of each question, i8 (T,), which does not decrease. By default, each question has its own.

    Returns:
        The interval; NaN if it is unknown, see this module, or if SciPy is missing.
    """
    values = np.asarray(values, dtype=np.float64)
    if stats is None or not values.size or not np.isfinite(values).all():
        return UNKNOWN
    mean = float(values.mean())
    if np.ptp(values) == 0:
        number = len(_first_questions(values, images))
        low, high = _constant_interval(float(values.flat[0]), number, paired, max_difference)
    else:
        low, high = _varying_interval(values, mean, images)
        if paired:  # values of `difference_of_means` may exceed the largest possible mean
            low, high = max(low, -max_difference), min(high, max_difference)
    return UNKNOWN if math.isnan(low) else Interval(min(low, mean), max(high, mean))


def difference_of_means(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return values, f8 (S, N), whose mean is the mean of some questions minus the mean of others.

    Each value is this difference plus the deviation of a question from the mean of its group, weighted so that the mean
    of resampled values is, to first order, the difference of the resampled groups (the infinitesimal jackknife; Efron,
    CBMS 38, 1982). A resampled group has another size.

    Args:
        values: f8 (S, T).
        first: the questions whose mean counts, bool (T,), one or more.
        second: those whose mean is subtracted, bool (T,), one or more, none of them in `first`.
    """
    either = first | second
    means = [values[:, group].mean(axis=1, keepdims=True) for group in (first, second)]
    weights = either.sum() * (first / first.sum() - second / second.sum())
    deviations = values - np.where(first, *means)
    return np.asarray((means[0] - means[1] + deviations * weights)[:, either])


def interval_of_accuracies(accuracies: Sequence[float], questions: float) -> Interval:
    """Return the interval of the mean accuracy of runs without stored answers, each over this number of questions."""
    if len(set(accuracies)) == 1:
        return wilson_interval(accuracies[0], questions)
    return student_interval(accuracies)


def complement_with_bounds(name: str, share: float, low: float, high: float) -> dict[str, float]:
    """Return 1 − a share as `name`, with the bounds that follow from its bounds as `name_lo` and `name_hi`."""
    return {name: 1 - share, f"{name}_lo": 1 - high, f"{name}_hi": 1 - low}


def mean_with_bounds(
    name: str, values: np.ndarray, paired: bool = False, images: np.ndarray | None = None
) -> dict[str, float]:
    """Return the mean of values (T,) of one network as `name`, and its bounds as `name_lo` and `name_hi`.

    Args:
        name: name of the values.
        values: f8 (T,).
        paired: whether the values are differences in −1 … 1.
        images: the image of each question, see `bootstrap_interval`.
    """
    values = np.asarray(values, dtype=np.float64)
    bounds = bootstrap_interval(values[None], paired, images=images)
    return {name: float(values.mean()), **{f"{name}{end}": bound for end, bound in zip(BOUNDS, bounds, strict=True)}}


def difference_interval(mean: float, bounds: Interval, other_mean: float, other_bounds: Interval) -> Interval:
    """Return the interval of the difference of two independent means, from the interval of each.

    The squared distances from the means to their bounds are added (Zou and Donner, Statistics in Medicine 27, 2008).
    For Wilson's intervals of two shares, this is Newcombe's interval.
    """
    difference = mean - other_mean
    low = difference - math.hypot(mean - bounds.lo, other_bounds.hi - other_mean)
    return Interval(low, difference + math.hypot(bounds.hi - mean, other_mean - other_bounds.lo))


def _varying_interval(values: np.ndarray, mean: float, images: np.ndarray | None) -> Interval:
    """Return the bootstrap interval of values (S, T), within the range of the values; NaN if there is one image."""
    sums, sizes = _blocks(values, images)
    if len(sizes) == 1:
        return UNKNOWN
    if np.ptp(sums / sizes) == 0:
        return Interval(mean, mean)
    bootstrap = _bootstrap(sums, sizes)
    low, high = bootstrap.confidence_interval
    if not low <= mean <= high:
        low, high = np.quantile(bootstrap.bootstrap_distribution, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(max(float(low), float(values.min())), min(float(high), float(values.max())))


def _bootstrap(sums: np.ndarray, sizes: np.ndarray) -> Any:
    """Return SciPy's bootstrap of the mean over seeds (if they differ) and blocks of questions, see `_blocks`."""
    draws_seeds = len(sums) > 1 and np.ptp(sums, axis=0).any()
    counts = (*sums.shape,) if draws_seeds else (sums.shape[1],)
    equal_size = float(sizes[0]) if np.ptp(sizes) == 0 else None

    def mean(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        blocks = drawn[-1]
        if draws_seeds:
            seed_shares = np.stack([(drawn[0] == k).mean(axis=-1) for k in range(len(sums))], axis=-1)
            block_sums = np.broadcast_to(seed_shares @ sums, (*blocks.shape[:-1], sums.shape[1]))
            drawn_sums = np.take_along_axis(block_sums, blocks, -1)
        else:
            drawn_sums = sums[0][blocks]
        questions = sizes[blocks].sum(-1) if equal_size is None else equal_size * blocks.shape[-1]
        means: np.ndarray = drawn_sums.sum(-1) / questions
        return means

    drawn = SimpleNamespace(bootstrap_distribution=mean(*_random_indices(RESAMPLES, *counts)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns if BCa has no bounds; `_varying_interval` handles it
        return stats.bootstrap(
            tuple(map(np.arange, counts)),
            mean,
            vectorized=True,
            method="BCa",
            confidence_level=CONFIDENCE,
            n_resamples=0,  # no more than those already drawn
            bootstrap_result=drawn,
        )


@lru_cache(maxsize=4)
def _random_indices(resamples: int, *counts: int) -> tuple[np.ndarray, ...]:
    """Return the bootstrap samples of each factor with this number of members, i8 (resamples, count) each.

    SciPy's bootstrap draws the same samples from this generator, but it draws them again in each call.
    """
    generator = Generator(Philox(_SEED))
    return tuple(generator.integers(count, size=(resamples, count)) for count in counts)


def sign_flip_p_value(values: np.ndarray, baseline: np.ndarray, images: np.ndarray | None = None) -> float:
    """Return the p-value of the two-sided sign-flip permutation test of the mean difference of paired values.

    Under the null hypothesis, the two networks of a pair are exchangeable, so that the signs of the differences are
    random. With several seeds, the signs of whole seeds are flipped. There are 2^S ways, all of which are tried if they
    are few; p is at least 2 ⁄ 2^S. With one seed, the signs of its images are flipped, or of blocks of images.

    Args:
        values: f8 (S, T).
        baseline: f8 (S, T), the values of the baseline for the same seeds and questions.
        images: the image of each question, see `bootstrap_interval`.

    Returns:
        p in 0 … 1; 1 for one seed and one image; NaN if there are no values, or if one is not finite.
    """
    paired = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    if stats is None or not paired.size or not np.isfinite(paired).all():
        return math.nan
    sums, sizes = _blocks(paired, images)
    differences = sums.sum(axis=1) / sizes.sum() if len(paired) > 1 else sums[0]
    if len(differences) == 1 or not differences.any():
        return 1.0
    if 2 ** len(differences) > FLIPS:
        return _sampled_p_value(differences)
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=FLIPS, alternative="two-sided"
    )
    return float(min(1.0, test.pvalue))


def _sampled_p_value(differences: np.ndarray) -> float:
    """Return the p-value over `FLIPS` random ways to flip signs, and the observed way.

    SciPy's permutation test has the same value, but it draws the same signs again in each call, which takes most of its
    time.
    """
    observed = differences.mean()
    means = _random_signs(len(differences)) @ differences / len(differences)
    rounding = 100 * np.finfo(np.float64).eps * abs(observed)
    less, greater = np.sum(means <= observed + rounding), np.sum(means >= observed - rounding)
    return float(min(1.0, 2 * (1 + min(less, greater)) / (1 + FLIPS)))


@lru_cache(maxsize=4)
def _random_signs(count: int) -> np.ndarray:
    """Return 1 or −1 for each way to flip `count` signs, i1 (FLIPS, count)."""
    pairs = np.tile(np.arange(2), (FLIPS, count, 1))
    return (1 - 2 * Generator(Philox(_SEED)).permuted(pairs, axis=-1)[..., 0]).astype(np.int8)


def rank_rows(better: Sequence[Sequence[bool]]) -> list[int]:
    """Return the rank of each row: 1 + the number of rows that are significantly better.

    No row is significantly better than a row of rank 1.

    Args:
        better: `better[i][j]` is true if row i is significantly better than row j.
    """
    return [1 + sum(row[j] for row in better) for j in range(len(better))]


def _blocks(values: np.ndarray, images: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each block of consecutive images, (S, B), and its number of questions, (B,)."""
    questions, firsts = values.shape[1], _first_questions(values, images)
    chosen = np.linspace(0, len(firsts), min(_BLOCKS, len(firsts)), endpoint=False).astype(np.int64)
    starts = firsts[chosen]
    sizes = np.diff(np.append(starts, questions))
    return np.add.reduceat(np.asarray(values, dtype=np.float64), starts, axis=1), sizes.astype(np.float64)


def _first_questions(values: np.ndarray, images: np.ndarray | None) -> np.ndarray:
    """Return the index of the first question about each image, i8 (images,), of values (S, T)."""
    return np.arange(values.shape[1]) if images is None else np.flatnonzero(np.diff(images, prepend=images[0] - 1))


def _constant_interval(value: float, images: int, paired: bool, max_difference: float) -> Interval:
    """Return the interval of the mean of equal values.

    Wilson's interval bounds how often other values may occur that were not observed. It is the interval of the shares 0
    and 1. For differences that are integers, unobserved differences may be as large as `max_difference` in both
    directions. Any other value is its own interval if there are 2 images or more; otherwise the interval is unknown.
    All questions about one image count once.
    """
    integer = round(value)
    if paired and abs(value - integer) < _INTEGER_TOLERANCE and abs(integer) <= max_difference:
        unobserved = wilson_interval(0.0, images).hi
        return Interval(
            integer - unobserved * (integer + max_difference), integer + unobserved * (max_difference - integer)
        )
    if not paired and value in (0.0, 1.0):
        return wilson_interval(value, images)
    return Interval(value, value) if images > 1 else UNKNOWN


def student_interval(means: Sequence[float]) -> Interval:
    """Return Student's t interval of the mean of the accuracies of several seeds, within 0 … 1.

    Args:
        means: (S,). With fewer than two seeds the interval is NaN.
    """
    if stats is None or len(means) < 2 or not np.isfinite(means).all():
        return UNKNOWN
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * stats.sem(means))
    return Interval(max(0.0, float(np.mean(means)) - half_width), min(1.0, float(np.mean(means)) + half_width))


def wilson_interval(share: float, questions: float) -> Interval:
    """Return Wilson's interval (JASA 22, 1927) of a share of right answers, over the questions only.

    Args:
        share: 0 … 1. For other values the interval is NaN.
        questions: number of questions. Without any, the interval is NaN.
    """
    if stats is None or not (0 <= share <= 1 and 1 <= questions < math.inf):
        return UNKNOWN
    number = int(questions)
    bounds = stats.binomtest(round(share * number), number).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(min(share, float(bounds.low)), max(share, float(bounds.high)))
