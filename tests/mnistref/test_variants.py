"""The registry of variants."""

from dataclasses import replace

import pytest

from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS, change_law, find_changes, get_variant


@pytest.mark.parametrize("name", VARIANTS)
def test_expected_shares_of_a_variant_sum_to_one(name):
    assert sum(VARIANTS[name].expected_shares) == pytest.approx(1, abs=1e-9)


def test_unknown_variant_error_suggests_the_nearest_name():
    assert get_variant("mbg") is VARIANTS["mbg"]
    with pytest.raises(
        UsageProblemError, match=r"^unknown variant 'mbginf': did you mean 'mbginv' or 'mbg'\? known: mref"
    ):
        get_variant("mbginf")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_with_its_own_ranges_is_the_variant(name):
    law = VARIANTS[name]
    assert change_law(law, law.scales, law.digits, law.canvas, law.distractors) is law
    assert find_changes(law) == {}


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("mbgmulti", {"digits": (2, 4)}, "give 3 or more"),
        ("mdist", {"scales": (0.1, 1)}, "distractors are smaller"),
        ("mref", {"scales": "0.5,3"}, "give two numbers"),
        ("mref", {"digits": (1.0, 2)}, "give two whole numbers"),
        ("mref", {"canvas": 100.0}, "whole number of pixels"),
        ("mref", {"distractors": 17}, "mref has a black background; use mdist"),
        ("mbg", {"distractors": -1}, "give a whole number from 0 to 1000"),
        ("mbg", {"distractors": 5, "scales": (0.1, 1)}, "distractors are smaller"),
        ("mone", {"digits": (1, 2)}, "mone has no question to tell several digits apart; give 1,1"),
    ],
)
def test_impossible_laws_are_refused_in_python(variant, changes, message):
    with pytest.raises(UsageProblemError, match=message):
        change_law(VARIANTS[variant], **changes)


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("mdist", {"scales": (0.2, 3.0)}, "scale 0.2: distractors are smaller than a pixel"),
        ("mone", {"scales": (0.0357142857142858, 1.0)}, "digits are smaller than a pixel"),
        ("mini", {"scales": (1.0, 3.57142857), "canvas": 99}, "a digit at scale 3.57143 has 100 px"),
    ],
)
def test_laws_are_checked_with_the_scales_that_are_drawn(variant, changes, message):
    with pytest.raises(UsageProblemError, match=message):
        change_law(VARIANTS[variant], **changes)
    law = VARIANTS[variant]
    with pytest.raises(UsageProblemError, match=r"smaller than a pixel|canvas is 99, must be 100 or more"):
        replace(law, **changes)
