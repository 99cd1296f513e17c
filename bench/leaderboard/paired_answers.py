"""The answers of several runs to the same questions, as arrays. Pure.

Shapes: S runs, such as the seeds of a mechanism; T questions.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from bench.evaluation.record_keys import IMAGE

Answers = Mapping[str, np.ndarray]
"""The arrays (T,) of one run by name, see `bench.evaluation.evaluate.TestResult`."""


class PairedAnswers(NamedTuple):
    """One array of two networks, over the seeds of both.

    Attributes:
        first: f8 (S, T).
        second: f8 (S, T).
        images: the image of each question, i4 (T,); None if each question has its own, or if this is not known.
    """

    first: np.ndarray
    second: np.ndarray
    images: np.ndarray | None

    @property
    def difference(self) -> np.ndarray:
        """The first minus the second, f8 (S, T)."""
        return np.asarray(self.first - self.second)


def pair_answers(first: Iterable[Answers | None], second: Iterable[Answers | None], name: str) -> PairedAnswers | None:
    """Return an array of the runs of two networks, each over the same seeds in the same order.

    Returns:
        The pairs; None if there are no runs, a run lacks the array, or the numbers of questions differ.
    """
    first, second = list(first), list(second)
    stacked, other = stack_array(first, name), stack_array(second, name)
    if stacked is None or other is None or stacked.shape != other.shape:
        return None
    return PairedAnswers(stacked, other, common_array([*first, *second], IMAGE))


def stack_array(answers: Iterable[Answers | None], name: str) -> np.ndarray | None:
    """Return an array of all runs, f8 (S, T).

    Args:
        answers: the answers of each run; None for a run without stored answers.
        name: name of the array.

    Returns:
        The array; None if there are no runs, a run lacks it, or runs have different numbers of questions.
    """
    stored = [None if each is None else each.get(name) for each in answers]
    arrays = [array for array in stored if array is not None]
    if not arrays or len(arrays) < len(stored) or len({len(array) for array in arrays}) > 1:
        return None
    return np.stack(arrays).astype(np.float64)


def common_array(answers: Iterable[Answers | None], name: str) -> np.ndarray | None:
    """Return the array (T,) that all runs have alike, such as the scale bins; None if a run lacks it or differs.

    See `stack_array` for the arguments.
    """
    stored = [None if each is None else each.get(name) for each in answers]
    first = stored[0] if stored else None
    if first is None or not all(array is not None and np.array_equal(array, first) for array in stored):
        return None
    return first
