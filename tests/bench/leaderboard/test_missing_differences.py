"""The note on boards without differences to the baseline."""

import pytest

from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import to_text
from bench.leaderboard.missing_differences import NO_SINGLE_ROW, explain_missing_differences
from tests.bench.leaderboard.helpers import failed, result, with_answers


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (
            [result("pan"), result("arnn")],
            "no finished run of san on this data set with this recipe; train one, or",
        ),
        ([result("pan"), failed("san")], "no finished run of san on this data set with this recipe"),
        ([result("pan"), result("pan", variant="mref")], "no finished run of san on these data sets with this recipe"),
        ([result("pan"), result("pan", recipe="pan")], "no finished run of san on this data set with these recipes"),
        ([result("san"), result("pan", recipe="pan")], NO_SINGLE_ROW),
    ],
)
def test_a_missing_baseline_is_named(results, words):
    board = build_board(results)
    assert words in explain_missing_differences(board, "san")
    assert words in to_text(board)


def test_the_baseline_may_be_another_one():
    board = build_board([result("san"), result("arnn")], baseline="pan")
    assert "there is no finished run of pan on" in to_text(board, baseline="pan")
    assert explain_missing_differences(board, None) == NO_SINGLE_ROW
    assert NO_SINGLE_ROW in to_text(board, markdown=True)


def test_images_without_a_question_are_compared_with_the_network_without_attention():
    board = build_board([result(name, variant="cifar10", network="resnet18") for name in ("se", "cbam")])
    assert "there is no finished run of none on" in explain_missing_differences(board, "san")


def test_boards_with_differences_and_with_one_row_have_no_note():
    assert explain_missing_differences(build_board([result("arnn")]), "san") == ""
    both = [*with_answers("san", 1, 0.6, 1), *with_answers("arnn", 1, 0.8, 2)]
    assert explain_missing_differences(build_board(both), "san") == ""
