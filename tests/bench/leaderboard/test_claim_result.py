"""The runs that a claim compares, as text, and the verdict."""

import math

import numpy as np
import pytest

from bench.leaderboard.claim_result import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    ComparisonGroup,
    Place,
    Statement,
    evaluate,
    not_run,
)

GROUP = ComparisonGroup("mbg", "mbg-0123456789ab", "fast", "one")
PLACE = Place(GROUP)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "mbg-0123456789ab, fast"),
        ({"group": GROUP._replace(queries="all")}, "mbg-0123456789ab, fast, all"),
        ({"black": "mref-0123456789ab"}, "mref-0123456789ab → mbg-0123456789ab, fast"),
        ({"tested": "folder-photos-0"}, "mbg-0123456789ab, fast → folder-photos-0"),
    ],
)
def test_a_place_is_data_sets_and_recipe(changes, text):
    assert str(PLACE._replace(**changes)) == text


@pytest.mark.parametrize(("shares", "verdict"), [([1, 0, 0], HOLDS), ([0, 1, 0], FAILS), ([1, 1, 0], UNDECIDED)])
def test_the_verdict_is_that_of_the_interval(shares, verdict):
    values = np.repeat([1.0, -1.0, 0.0], [40 * share + 5 for share in shares])[None]
    found = evaluate(Statement("a claim", "a paper", PLACE, ("pan", "san")), values, 0.1)
    assert (found.verdict, found.compared, found.seeds) == (verdict, "pan − san", 1)
    assert found.difference == pytest.approx(values.mean())
    assert found.group == str(PLACE)


def test_a_claim_without_runs_has_no_difference():
    found = not_run(Statement("a claim", "a paper", PLACE, ("pan", "san")), "san", 0.1)
    assert (found.verdict, found.missing, found.published) == (NOT_RUN, "san", 0.1)
    assert math.isnan(found.difference)
