"""Accuracy per scale of the digit, from all questions of the test images, so that large digits are many.

    python -m tests.perf.scale_bins RUN [RUN …] --data SET [--images 10000]

A test asks one question about each image, and few of these are about a large digit. This asks about every digit of the
test images, with the law of the data set unchanged. The first table has accuracies with 95 % intervals, the second one
the differences of each later run from the first one, over the same questions. Its last column is the difference in
scale 2.5–3 minus that in scale 1–1.5: above zero, the accuracy falls less towards large digits than that of the first
run. RUN is a folder with weights, and SET is the data set that it was trained on. Intervals draw images, with all their
questions, as those of a board do; they do not contain the variation between seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import bench
import mnistref
from bench.leaderboard.statistics import bootstrap_interval, difference_of_means
from bench.metrics import scale_bin
from mnistref.common.errors import ProblemError
from mnistref.common.text_table import table
from mnistref.dataset import read_triples
from mnistref.spec import SCALE_BINS
from tests.perf.places import at_least

MIDDLE, LARGE = SCALE_BINS.index((1.0, 1.5)), SCALE_BINS.index((2.5, 3.0))


def answer_all(run: Path, data: Path, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each answer is right, f8 (T,), and the index of its scale bin, i8 (T,).

    Args:
        run: the folder of a run with weights.
        data: the data set.
        images: number of test images; all their questions are asked.

    Raises:
        ProblemError: a folder is missing or damaged.
    """
    dataset = mnistref.load(data, split="test", queries="all")
    asked = int((read_triples(data, "test", "all").image < images).sum())
    answers = bench.evaluate(bench.load_run(run).model, dataset[:asked]).answers
    return answers["correct"].to_numpy(float), scale_bin(answers["scale"].to_numpy()).numpy()


def accuracies(right: np.ndarray, bins: np.ndarray) -> list[str]:
    """Return the accuracy over all questions and over those of each scale bin, in percent with intervals."""
    chosen = [np.ones(len(right), bool), *(bins == k for k in range(len(SCALE_BINS)))]
    return [_text(right[those], paired=False) for those in chosen]


def differences(right: np.ndarray, first: np.ndarray, bins: np.ndarray) -> list[str]:
    """Return the differences of two networks, as `accuracies` does, and the one of large minus middle digits."""
    lead = right - first
    chosen = [np.ones(len(lead), bool), *(bins == k for k in range(len(SCALE_BINS)))]
    return [*(_text(lead[those], paired=True) for those in chosen), _text(larger_lead(lead, bins), paired=True)]


def larger_lead(lead: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Return values whose mean is the mean lead of large digits minus that of digits of middle size."""
    large, middle = bins == LARGE, bins == MIDDLE
    return difference_of_means(lead[None], large, middle)[0] if large.any() and middle.any() else np.empty(0)


def _text(values: np.ndarray, paired: bool) -> str:
    if not len(values):
        return "–"
    low, high = bootstrap_interval(values[None], paired=paired, max_difference=2.0)
    sign = "+" if paired else ""
    text = f"{100 * values.mean():{sign}.1f} ({100 * low:{sign}.1f} … {100 * high:{sign}.1f})"
    return text.replace("-", "−")


def tables(answers: Mapping[str, np.ndarray], bins: np.ndarray) -> str:
    """Return both tables as text.

    Args:
        answers: name of each network → whether its answers are right, f8 (T,).
        bins: scale bin of each question.
    """
    heads = ["all", *(f"{low:g}–{high:g}" for low, high in SCALE_BINS)]
    counts = [len(bins), *(int((bins == k).sum()) for k in range(len(SCALE_BINS)))]
    rows: list[Sequence[str]] = [["accuracy, %", *heads], ["questions", *(f"{number:,}" for number in counts)]]
    rows += [[name, *accuracies(right, bins)] for name, right in answers.items()]
    (base, first), *others = answers.items()
    compared = [["difference, points", *heads, "2.5–3 minus 1–1.5"]]
    compared += [[f"{name} − {base}", *differences(right, first, bins)] for name, right in others]
    return table(rows) + ("\n\n" + table(compared) if others else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run with weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=at_least(1), default=10_000, help="number of test images (10000)")
    asked = parser.parse_args()
    answers: dict[str, np.ndarray] = {}
    try:
        for run in asked.runs:
            right, bins = answer_all(run, asked.data, asked.images)
            name = bench.load_run(run).config.attn
            answers[name if name not in answers else run.name] = right
    except ProblemError as error:
        parser.error(str(error))
    print(f"{asked.data.name}: all questions of {asked.images:,} test images at most")
    print(tables(answers, bins))


if __name__ == "__main__":
    main()
