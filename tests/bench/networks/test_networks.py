"""The registry of networks: every mechanism fits every network, with questions and without."""

import subprocess
import sys

import pytest
import torch

import bench
from bench.attention import MECHANISMS
from bench.attention.network import ATTRIBUTE
from bench.attention.slot import BLOCK, GATE, READOUT, SCALE
from bench.config import DEFAULT_NETWORK, DEFAULT_WIDTH
from bench.networks import NETWORKS, layout_of, resolve
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.user_modules import GOOD, TWO_LEVELS, write_module
from tests.helpers import TOP, long_form

SMALL = {
    "attribute": 8,
    "resnet18": 4,
    "vgg": 4,
    "vgg-late": 4,
    "vgg-att": 4,
    "vgg-pan": 4,
    "vgg-gap": 4,
    "resnet164": 1,
}
"""A width of each network for tests."""
SIDE = 16
ALL_BUT_DEEP = [name for name in NETWORKS if name != "resnet164"]
TYPICAL = ("none", "san", "pan-ctx", "cbam", "ltpa-dp", "ltpa-pc")
"""Mechanisms of all kinds, for the deepest network."""


def small(attn: str, network: str, queries: int = 3, seed: int = 0):
    torch.manual_seed(seed)
    return bench.create_model(
        attn, classes=4, queries=queries, size=(SIDE, SIDE), width=SMALL[network], network=network
    )


def test_the_default_network_has_one_name_and_is_the_first_in_lists():
    """`bench.attention` may not import `bench.config`, so both state the name."""
    assert ATTRIBUTE == DEFAULT_NETWORK == next(iter(NETWORKS)) == resolve("none").architecture
    assert NETWORKS[DEFAULT_NETWORK].width == DEFAULT_WIDTH


@pytest.mark.parametrize("attn", MECHANISMS)
@pytest.mark.parametrize("network", long_form(ALL_BUT_DEEP, ["resnet18", "vgg-att"]))
def test_every_mechanism_fits_every_network(network, attn):
    check_fit(small(attn, network), attn)


@pytest.mark.parametrize("attn", TYPICAL)
def test_mechanisms_fit_the_deepest_network(attn):
    check_fit(small(attn, "resnet164"), attn)


def check_fit(model, attn: str) -> None:
    """Check shapes, gradients and sizes of maps for two questions about each of two images."""
    out = model.train()(torch.rand(2, 3, SIDE, SIDE), torch.tensor([[0, 1], [2, 2]]))
    assert out.logits.shape == (2, 2, 4)
    out.logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    sizes = [model.layout.slots[slot - 1].size for slot in out.slots]
    assert [tuple(mask.shape) for mask in out.masks] == [(2, 2, 1, *size) for size in sizes]
    filled = resolve(attn, network="attribute").named[-1]
    if filled.target and not filled.last_only:
        assert len(model.gates) >= len(model.layout.slots) - 1


@pytest.mark.parametrize("network", ALL_BUT_DEEP)
@pytest.mark.parametrize("attn", ["none", "film", "pan", "ltpa-dp", "han", "self"])
def test_a_task_without_a_question_needs_no_query(network, attn):
    model = small(attn, network, queries=0).eval()
    assert (model.queries, model.appended_queries, model.query_slots) == (0, 0, set())
    images = torch.rand(2, 3, SIDE, SIDE)
    out, again = model(images), model(images, torch.zeros(2, dtype=torch.long))
    assert out.logits.shape == (2, 4)
    assert torch.equal(out.logits, again.logits)
    assert all(torch.equal(a, b) for a, b in zip(out.masks, again.masks, strict=True))


def test_a_network_with_questions_needs_a_query():
    with pytest.raises(ValueError, match=r"query is None: give the index of the query of each image, 0 … 2"):
        small("none", "resnet18")(torch.rand(2, 3, SIDE, SIDE))


@pytest.mark.parametrize("network", ALL_BUT_DEEP)
@pytest.mark.parametrize("attn", ["none", "none,pan", "se,san", "stn-m", "ltpa-dp", "{own}:Two", "{own}:Own"])
def test_questions_together_have_the_answers_of_single_questions(network, attn, tmp_path):
    model = small(attn.format(own=write_module(tmp_path, GOOD + TWO_LEVELS)), network).double().eval()
    images, query, of = torch.rand(2, 3, SIDE, SIDE).double(), torch.tensor([2, 0, 1, 1]), torch.tensor([1, 0, 1, 0])
    together, single = model(images, query, of), model(images[of], query)
    torch.testing.assert_close(together.logits, single.logits)
    for a, b in zip(together.masks, single.masks, strict=True):
        torch.testing.assert_close(a, b)
    grid = model(images, torch.tensor([[0, 1], [2, 1]]))
    torch.testing.assert_close(grid.logits[1], model(images[[1, 1]], torch.tensor([2, 1])).logits)


@pytest.mark.parametrize("network", NETWORKS)
def test_mechanisms_do_not_change_the_initial_weights_of_the_network(network):
    plain, other = small("none", network).state_dict(), small("san", network).state_dict()
    own = [name for name in plain if not name.startswith(("head", "tail", "globally"))]
    assert len(own) >= 8
    assert all(torch.equal(plain[name], other[name]) for name in own)


@pytest.mark.parametrize(("network", "entry"), NETWORKS.items())
def test_layouts_end_with_the_readout(network, entry):
    layout = layout_of(resolve("none", network=network), (100, 100))
    kinds = [slot.kind for slot in layout.slots]
    assert kinds[-1] == READOUT
    assert set(kinds[:-1]) <= {GATE, SCALE, BLOCK}
    assert layout.levels[-1] == len(layout.slots) - 1
    assert entry.describe()["slots"][-1]["kind"] == READOUT


def test_unknown_networks_are_refused():
    with pytest.raises(UsageProblemError, match="unknown network 'resnet-18': did you mean 'resnet18'"):
        resolve("none", network="resnet-18")
    with pytest.raises(UsageProblemError, match="10 mechanisms for 9 slots"):
        resolve(",".join(["se"] * 10), network="resnet18")
    with pytest.raises(UsageProblemError, match="no trained weights of 'pan' on mini in resnet18"):
        bench.create_model("pan", "mini", network="resnet18", pretrained=True)


def test_names_of_networks_cost_no_import_of_pytorch():
    code = "import sys; from bench.networks import NETWORKS, resolve; resolve('pan'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
