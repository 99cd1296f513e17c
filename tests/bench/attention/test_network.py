"""Lists of mechanisms, one for each slot of a network."""

import subprocess
import sys

import pytest

from bench.attention import canonical_name, resolve_network
from bench.model import create_model
from bench.networks import layout_of
from mnistref.common.errors import UsageProblemError
from tests.helpers import TOP


def test_slot_lists_give_each_slot_a_mechanism():
    def names(attn: str, stages: int = 4) -> list[str]:
        network = resolve_network(attn, 8)
        return [m.name for m in network.fill(layout_of(network, {4: (100, 100), 5: (224, 224)}[stages]))]

    assert names("arnn") == ["arnn"] * 4
    assert names("none,arnn", 5) == ["none"] + ["arnn"] * 4
    assert names("san") == ["none", "none", "none", "san"]
    assert names("pan,san") == ["pan", "none", "none", "san"]
    assert names("noctx") == ["pan"] * 4
    assert canonical_name(" ctx , arnn,arnn") == "pan-ctx,arnn"
    assert canonical_name("none,none,san") == "san"
    with pytest.raises(UsageProblemError, match="san acts in the last slot only"):
        names("san,arnn")
    with pytest.raises(UsageProblemError, match="5 mechanisms for 4 slots"):
        names("pan,pan-ctx,pan,pan-ctx,pan")
    with pytest.raises(UsageProblemError, match="did you mean 'arnn'"):
        names("arn")


def test_names_of_shipped_mechanisms_are_resolved_without_pytorch():
    """The import of PyTorch takes seconds, and commands resolve names before they refuse a wrong argument."""
    code = "import sys; from bench.attention import canonical_names as names; "
    code += "print(names('pan-ctx, none+arnn+arnn'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout == "['pan-ctx', 'none,arnn'] False\n"


@pytest.mark.parametrize(("size", "slots", "names"), [(100, 4, 5), (224, 5, 6)])
@pytest.mark.parametrize("attn", ["san", "pan", "no_such_mechanism"])
def test_the_number_of_mechanisms_is_checked_before_their_names_and_places(attn, size, slots, names):
    attn = ",".join([attn] * names)
    with pytest.raises(UsageProblemError, match=f"^'{attn}': {names} mechanisms for {slots} slots; name {slots} or"):
        create_model(attn, classes=5, queries=10, size=(size, size))
