"""The network with every mechanism of the registry: training, evaluation, sizes and seeds."""

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.attention import MECHANISMS

LISTS = ["none,arnn", "pan,none,san", "none,none,none,pan", "brnn2,arnn", "stn-m,pan", "stn-m,none,none,ltpa-dp"]


def small(attn: str, classes: int = 5, queries: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return bench.create_model(attn, classes=classes, queries=queries, size=(48, 48))


@pytest.mark.parametrize("attn", [*MECHANISMS, *LISTS])
@pytest.mark.parametrize(("classes", "queries"), [(5, 10), (10, 5)])
def test_every_network_trains(attn, classes, queries):
    model = small(attn, classes, queries)
    out = model(torch.rand(3, 3, 48, 48), torch.tensor([0, 1, queries - 1]))
    assert out.logits.shape == (3, classes)
    for mask in out.masks:
        assert mask.shape == (3, 1, *mask.shape[2:])
        assert (mask >= 0).all()
        assert (mask <= 1).all()
    assert [m.shape[2] for m in out.masks] == sorted([m.shape[2] for m in out.masks], reverse=True)
    assert out.last_mask == (bool(out.masks) and out.masks[-1].shape[2:] == (3, 3))
    if out.last_mask:
        torch.testing.assert_close(out.masks[-1].sum(dim=(1, 2, 3)), torch.ones(3))
    torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("variant", "maps"), [("mref", [50, 25, 12, 6]), ("mbgb", [112, 56, 28, 14, 7])])
@pytest.mark.parametrize("attn", MECHANISMS)
def test_every_network_has_the_output_shapes_of_the_papers_sizes(attn, variant, maps):
    model = bench.create_model(attn, variant=variant).eval()
    size = {"mref": 100, "mbgb": 224}[variant]
    with torch.inference_mode():
        out = model(torch.rand(1, 3, size, size), torch.tensor([3]))
    assert [m.shape[-1] for m in out.masks] == maps[len(maps) - len(out.masks) :]
    assert out.logits.isfinite().all()


@pytest.mark.parametrize("attn", MECHANISMS)
def test_evaluation_is_equal_in_a_batch_and_after_a_state_dict_round_trip(attn, request):
    model, other = small(attn).eval(), small(attn).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    other.load_state_dict(model.state_dict())
    images, query = torch.rand(4, 3, 48, 48), torch.tensor([1, 2, 3, 4])

    def logits(network: nn.Module, at: slice = slice(None)) -> Tensor:
        torch.manual_seed(5)
        return network(images[at], query[at]).logits

    together = logits(model)
    assert torch.equal(logits(other), together)
    request.getfixturevalue("one_draw")
    together = logits(model)
    for k in range(4):
        torch.testing.assert_close(logits(model, slice(k, k + 1)), together[k : k + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attn", MECHANISMS)
def test_answer_of_every_network_depends_on_the_query(attn):
    """Every network gets the query, through the attention or before the classifier."""
    model = small(attn).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    images = torch.rand(1, 3, 48, 48)
    torch.manual_seed(5)
    first = model(images, torch.tensor([1])).logits
    torch.manual_seed(5)
    assert (model(images, torch.tensor([2])).logits - first).abs().max() > 1e-5


@pytest.mark.parametrize("attn", MECHANISMS)
def test_seed_fixes_initial_backbone_and_data_order(attn):
    torch.manual_seed(7)
    san = bench.create_model("san", variant="mref")
    torch.manual_seed(7)
    other = bench.create_model(attn, variant="mref")
    for a, b in zip(san.stages.parameters(), other.stages.parameters(), strict=True):
        assert torch.equal(a, b)
    if san.head.classify.weight.shape == other.head.classify.weight.shape:
        for a, b in zip(san.head.parameters(), other.head.parameters(), strict=True):
            assert torch.equal(a, b)
