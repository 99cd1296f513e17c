"""Ranks of the rows of a data set."""

import pytest

from bench.report.ranks import rank_texts


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [([1, 2, 3], ["1", "2", "3"]), ([1, 1, 3, None], ["1=", "1=", "3", ""]), ([], []), ([None, None], ["", ""])],
)
def test_a_shared_rank_is_marked(numbers, texts):
    assert rank_texts(numbers) == texts
