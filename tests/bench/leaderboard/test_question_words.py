"""Words for data sets with questions and for those without."""

import pytest

from bench.leaderboard.aggregate import build_board
from bench.leaderboard.question_words import count_tested, describe_columns
from tests.bench.leaderboard.helpers import result


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        ("mbg-0123456789ab", "1,200 test questions of mbg-0123456789ab"),
        ("mone-0123456789ab", "1,200 test images of mone-0123456789ab"),
        ("folder-my-photos-0123456789ab", "1,200 test images of folder-my-photos-0123456789ab"),
        ("cifar10-0123456789ab", "1,200 test images of cifar10-0123456789ab"),
    ],
)
def test_what_was_tested_is_counted_in_words(dataset, text):
    assert count_tested(1200, dataset) == text


def test_the_legend_speaks_of_questions_if_there_are_any():
    with_questions, without = (build_board([result(variant=name)]) for name in ("mbg", "mone"))
    assert "lies on the\nqueried digit; uniform" in describe_columns(with_questions)
    assert "lies on the\nobject; uniform" in describe_columns(without)
