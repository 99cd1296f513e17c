"""Comparison of a share with that of a uniform map."""

import pytest

from bench.common.uniform_map import SIMILAR, Relation, compare_with_chance, is_below_uniform


@pytest.mark.parametrize("chance", [0.01, 0.048, 0.5])
def test_shares_within_the_tolerance_count_as_equal(chance):
    for factor in (1 - 0.9 * SIMILAR, 1, 1 + 0.9 * SIMILAR):
        assert compare_with_chance(factor * chance, chance) is Relation.EQUAL
        assert not is_below_uniform(factor * chance, chance)
    assert compare_with_chance((1 + 1.1 * SIMILAR) * chance, chance) is Relation.ABOVE
    assert compare_with_chance((1 - 1.1 * SIMILAR) * chance, chance) is Relation.BELOW
    assert is_below_uniform((1 - 1.1 * SIMILAR) * chance, chance)


def test_a_share_without_chance():
    assert compare_with_chance(0, 0) is Relation.EQUAL
    assert compare_with_chance(0.1, 0) is Relation.ABOVE
    assert not is_below_uniform(None, 0.1)
    assert not is_below_uniform(0.1, None)
