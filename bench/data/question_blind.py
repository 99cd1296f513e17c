"""What can be answered without the question: the accuracy that a network must exceed to have used it."""

from pathlib import Path

import numpy as np

from bench.data.sets import read_manifest, read_triples


def question_blind_accuracy(folder: Path, queries: str = "one", split: str = "test") -> float | None:
    """Return the expected accuracy of the most frequent label among the questions about an image, 0 … 1.

    No network that ignores the question can expect more, because every digit that can be queried is as likely as the
    others. Of labels that are equally frequent, one is guessed.

    Args:
        folder: the data set.
        queries: the questions that are answered, see `mnistref.dataset.read_triples`.
        split: the split.

    Returns:
        None if questions have several right answers (mbgmulti), or if there is no question (mone).

    Raises:
        UsageProblemError: there is no data set, split or unit with this name.
        DataProblemError: a shard is missing or damaged.
    """
    variant = read_manifest(folder).variant
    if not variant.asks or variant.repeats[1] > 1:
        return None
    answered, every = read_triples(folder, split, queries), read_triples(folder, split, "all")
    images = 1 + int(max(answered.image.max(initial=0), every.image.max(initial=0)))
    counts = np.zeros((images, variant.classes), np.int64)
    np.add.at(counts, (every.image, every.label), 1)
    most_frequent = counts == counts.max(axis=1, keepdims=True)
    chance = most_frequent[answered.image, answered.label] / most_frequent.sum(axis=1)[answered.image]
    return float(chance.mean())


def most_frequent_share(folder: Path, queries: str = "one", split: str = "test") -> float:
    """Return the share of the most frequent label of a split, 0 … 1: the accuracy of always giving that label.

    The arguments and errors are those of `question_blind_accuracy`.
    """
    label = read_triples(folder, split, queries).label
    return float(np.bincount(label).max() / len(label))
