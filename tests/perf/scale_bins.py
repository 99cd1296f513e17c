"""Accuracy per scale of the digit, from all questions of the test images, so that large digits are many.

    python -m tests.perf.scale_bins RUN [RUN …] --data SET [--images 10000] [--above 0]

A test asks one question about each image, and few of these are about a large digit. This asks about every digit of the
test images, with the law of the data set unchanged. The first table has accuracies with 95 % intervals, the second one
the differences of each later run from the first one, over the same questions. Its last column is the difference in
scale 2.5–3 minus that in scale 1–1.5: above zero, the accuracy falls less towards large digits than that of the first
run. RUN is a folder with weights, and SET is the data set that it was trained on. Runs that differ in nothing but the
seed are one row; differences are over the seeds that both rows have. Intervals draw seeds, and images with all their
questions, as those of a board do. With --above S, only digits of scale S or more are asked about.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bench
import mnistref
from bench.leaderboard.statistics import bootstrap_interval, difference_of_means
from bench.metrics import scale_bin
from mnistref.common.errors import ProblemError
from mnistref.common.text_table import table
from mnistref.dataset import MnistRef
from mnistref.spec import SCALE_BINS
from tests.perf.places import at_least

MIDDLE, LARGE = SCALE_BINS.index((1.0, 1.5)), SCALE_BINS.index((2.5, 3.0))


class Questions(NamedTuple):
    """The questions that are asked: image and scale bin of each, i8 (T,)."""

    image: np.ndarray
    bins: np.ndarray

    def each_bin(self) -> list[np.ndarray]:
        """Return which questions are in any bin, and in each bin, bool (T,)."""
        return [np.ones(len(self.bins), bool), *(self.bins == k for k in range(len(SCALE_BINS)))]


def open_questions(data: Path, images: int, above: float) -> tuple[MnistRef, Questions]:
    """Return all questions about the first test images and about digits of a scale of `above` or more."""
    dataset = mnistref.load(data, split="test", queries="all")
    asked = dataset.select((dataset.triples.image < images) & (dataset.scale >= above))
    return asked, Questions(asked.triples.image, scale_bin(asked.scale).numpy())


def accuracies(right: np.ndarray, questions: Questions) -> list[str]:
    """Return the accuracy over all questions and over those of each scale bin, in percent with intervals.

    Args:
        right: whether the answers are right, f8 (S, T).
        questions: the questions.
    """
    return [_text(right[:, those], questions.image[those]) for those in questions.each_bin()]


def differences(lead: np.ndarray, questions: Questions) -> list[str]:
    """Return differences of two networks, (S, T), as `accuracies` does, and the one of large minus middle digits."""
    text = [_text(lead[:, those], questions.image[those], paired=True) for those in questions.each_bin()]
    large, middle = questions.bins == LARGE, questions.bins == MIDDLE
    if not (large.any() and middle.any()):
        return [*text, "–"]
    return [*text, _text(difference_of_means(lead, large, middle), questions.image[large | middle], paired=True)]


def _text(values: np.ndarray, image: np.ndarray, paired: bool = False) -> str:
    if not values.size:
        return "–"
    low, high = bootstrap_interval(values, paired=paired, max_difference=2.0, images=image)
    sign = "+" if paired else ""
    text = f"{100 * values.mean():{sign}.1f} ({100 * low:{sign}.1f} … {100 * high:{sign}.1f})"
    return text.replace("-", "−")


def tables(answers: Mapping[str, Mapping[int, np.ndarray]], questions: Questions) -> str:
    """Return both tables as text.

    Args:
        answers: name of each network → seed → whether its answers are right, f8 (T,).
        questions: the questions.
    """
    heads = ["seeds", "all", *(f"{low:g}–{high:g}" for low, high in SCALE_BINS)]
    counts = [f"{int(those.sum()):,}" for those in questions.each_bin()]
    rows: list[Sequence[str]] = [["accuracy, %", *heads], ["questions", "", *counts]]
    for name, seeds in answers.items():
        rows.append([name, str(len(seeds)), *accuracies(np.stack([*seeds.values()]), questions)])
    (base, first), *others = answers.items()
    compared = [["difference, points", *heads, "2.5–3 minus 1–1.5"]]
    for name, seeds in others:
        if common := sorted(seeds.keys() & first.keys()):
            lead = np.stack([seeds[seed] - first[seed] for seed in common])
            compared.append([f"{name} − {base}", str(len(common)), *differences(lead, questions)])
    return table(rows) + ("\n\n" + table(compared) if len(compared) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run with weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=at_least(1), default=10_000, help="number of test images (10000)")
    parser.add_argument("--above", type=float, default=0.0, metavar="S", help="smallest scale of a digit (0)")
    asked = parser.parse_args()
    answers: dict[str, dict[int, np.ndarray]] = {}
    names: dict[tuple[str, str], str] = {}
    try:
        dataset, questions = open_questions(asked.data, asked.images, asked.above)
        for folder in asked.runs:
            run = bench.load_run(folder)
            kind = run.config.attn, run.config.training
            name = names.setdefault(kind, kind[0] if kind[0] not in answers else folder.name)
            right = bench.evaluate(run.model, dataset).answers["correct"].to_numpy(float)
            answers.setdefault(name, {})[run.config.seed] = right
    except ProblemError as error:
        parser.error(str(error))
    print(f"{asked.data.name}: all questions of {asked.images:,} test images at most")
    print(tables(answers, questions))


if __name__ == "__main__":
    main()
