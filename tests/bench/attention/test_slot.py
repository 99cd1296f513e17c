"""The layout of slots."""

import pytest

from bench.attention import resolve_network
from bench.attention.slot import BLOCK, READOUT, Layout, Slot
from mnistref.common.errors import UsageProblemError

BLOCKS = Layout(
    (*(Slot(f"b{k}", 8 << k, (8, 8), BLOCK) for k in range(3)), Slot("readout", 32, (8, 8), READOUT)), (1, 3)
)


def test_levels_are_counted_from_the_last():
    assert BLOCKS.has_blocks
    assert (BLOCKS.level_channels(1), BLOCKS.level_channels(2)) == ((32,), (16, 32))


@pytest.mark.parametrize(
    ("attn", "mechanisms", "name"),
    [
        ("arnn", "arnn arnn arnn none", "arnn"),
        ("none,arnn", "none arnn arnn none", "none,arnn"),
        ("san", "none none none san", "san"),
        ("se,san", "se none none san", "se,san"),
        ("se,se,se", "se se se none", "se"),
        ("se,se,se,none", "se se se none", "se"),
        ("se,se,se,se", "se se se se", "se,se,se,se"),
        ("se,se,se,pan", "se se se pan", "se,se,se,pan"),
        ("none,none,none,san", "none none none san", "san"),
    ],
)
def test_in_a_network_with_blocks_only_a_full_list_names_the_readout(attn, mechanisms, name):
    network = resolve_network(attn, 8, BLOCKS, "other")
    assert " ".join(m.name for m in network.fill(BLOCKS)) == mechanisms
    assert network.name == name
    again = resolve_network(network.name, 8, BLOCKS, "other")  # a record has the name only
    assert again == network
    assert " ".join(m.name for m in again.fill(BLOCKS)) == mechanisms


def test_a_readout_of_too_many_levels_is_refused():
    network = resolve_network("ltpa-dp", 8, BLOCKS)
    with pytest.raises(UsageProblemError, match="uses 3 slots; this network has 2 slots"):
        network.fill(BLOCKS)
