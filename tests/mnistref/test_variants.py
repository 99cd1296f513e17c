"""The registry of variants."""

import pytest

from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS, get_variant


@pytest.mark.parametrize("name", VARIANTS)
def test_expected_shares_of_a_variant_sum_to_one(name):
    assert sum(VARIANTS[name].expected_shares) == pytest.approx(1, abs=1e-9)


def test_unknown_variant_error_suggests_the_nearest_name():
    assert get_variant("mbg") is VARIANTS["mbg"]
    with pytest.raises(
        UsageProblemError, match=r"^unknown variant 'mbginf': did you mean 'mbginv' or 'mbg'\? known: mref"
    ):
        get_variant("mbginf")
