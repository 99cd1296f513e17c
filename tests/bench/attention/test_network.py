"""Lists of mechanisms, one for each slot of a network."""

import pytest

from bench.attention import canonical_name, resolve_network
from mnistref.common.errors import UsageProblemError


def test_slot_lists_give_each_slot_a_mechanism():
    def names(attn: str, stages: int = 4) -> list[str]:
        return [m.name for m in resolve_network(attn, 8).slots(stages)]

    assert names("arnn") == ["arnn"] * 4
    assert names("none,arnn", 5) == ["none"] + ["arnn"] * 4
    assert names("san") == ["none", "none", "none", "san"]
    assert names("pan,san") == ["pan", "none", "none", "san"]
    assert names("noctx") == ["pan"] * 4
    assert canonical_name(" ctx , arnn,arnn") == "pan-ctx,arnn"
    assert canonical_name("none,none,san") == "san"
    with pytest.raises(UsageProblemError, match="san acts in the last slot only"):
        names("san,arnn")
    with pytest.raises(UsageProblemError, match="5 slots; this network has 4"):
        names("pan,pan-ctx,pan,pan-ctx,pan")
    with pytest.raises(UsageProblemError, match="did you mean 'arnn'"):
        names("arn")
