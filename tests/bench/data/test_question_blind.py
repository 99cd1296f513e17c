"""The accuracy of the best answer that ignores the question."""

from collections import Counter
from fractions import Fraction

import pytest

from bench.data.question_blind import question_blind_accuracy
from mnistref.dataset import MnistRef


@pytest.mark.parametrize("queries", ["one", "all", "author"])
@pytest.mark.parametrize("variant", ["mini", "miniinv", "mref"])
def test_question_blind_accuracy_is_the_chance_of_the_most_frequent_label(make, variant, queries):
    """The expected value is computed question by question, with exact fractions."""
    folder = make(variant)
    every = MnistRef(folder, "test", "all").triples
    labels: dict[int, Counter[int]] = {}
    for image, label in zip(every.image.tolist(), every.label.tolist(), strict=True):
        labels.setdefault(image, Counter())[label] += 1
    answered = MnistRef(folder, "test", queries).triples
    total = Fraction(0)
    for image, label in zip(answered.image.tolist(), answered.label.tolist(), strict=True):
        most = max(labels[image].values())
        winners = [name for name, count in labels[image].items() if count == most]
        total += Fraction(label in winners, len(winners))
    assert question_blind_accuracy(folder, queries) == pytest.approx(float(total / len(answered.image)), abs=1e-12)


def test_question_blind_accuracy_is_undefined_for_several_right_answers(make):
    assert question_blind_accuracy(make("mbgmulti")) is None
