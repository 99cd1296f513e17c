"""VGG-att, the network of LTPA with attention."""

import pytest
import torch
from torch.nn import functional as F

import bench
from bench.networks import get_network
from bench.networks.heads import IndependentHeads, NormedHead
from bench.networks.readouts import GlobalReadout


def build(attn: str, network: str = "vgg-att", queries: int = 0, side: int = 16):
    torch.manual_seed(0)
    return bench.create_model(attn, classes=3, queries=queries, size=(side, side), width=4, network=network).eval()


def test_levels_and_global_feature_have_the_sizes_of_the_paper():
    layout = get_network("vgg-att").layout(None, (32, 32))
    found = [(slot.channels, slot.size) for slot in layout.slots]
    assert found == [(256, (32, 32)), (512, (16, 16)), (512, (8, 8))]
    assert (layout.levels, layout.global_channels) == ((0, 1, 2), 512)


def test_without_attention_it_is_late_pooling_to_the_last_bit():
    images = torch.rand(4, 3, 16, 16)
    logits = []
    for network in ("vgg-att", "vgg-late"):
        model = build("none", network).train()
        torch.manual_seed(1)
        logits.append(model(images).logits)
    assert torch.equal(*logits)
    assert isinstance(build("none").readout, GlobalReadout)


@pytest.mark.parametrize(
    ("attn", "widths"), [("ltpa-pc", 16 + 32 + 32), ("ltpa-dp:levels=2", 64), ("ltpa-pc:levels=1", 32), ("san", 32)]
)
def test_the_classifier_reads_the_channels_of_the_levels(attn, widths):
    head = build(attn).head
    assert isinstance(head, NormedHead)
    assert head.classify.in_features == widths


def test_the_dot_product_reads_the_global_feature_of_the_network():
    model = build("ltpa-dp")
    kept = {}
    model.trunk.register_forward_hook(lambda _, __, out: kept.update(l3=out))
    model.globally.register_forward_hook(lambda _, __, out: kept.update(g=out))
    model.readout.project["0"].register_forward_hook(lambda _, given, out: kept.update(given=given[0], projected=out))
    out = model(torch.rand(2, 3, 16, 16))
    score = torch.einsum("bchw,bc->bhw", kept["l3"], kept["g"])
    torch.testing.assert_close(out.masks[2].flatten(1), score.flatten(1).softmax(1))
    assert torch.equal(kept["given"], kept["g"])
    assert kept["projected"].shape == (2, 16)
    assert [*model.readout.project] == ["0"]
    assert out.slots == (1, 2, 3)


def test_layers_that_no_answer_depends_on_are_left_out():
    assert build("ltpa-pc").tail is None
    assert build("ltpa-pc:linear=false").tail is not None
    assert build("ltpa-dp").tail is not None


def test_independent_heads_add_the_log_probabilities_of_the_levels():
    model = build("ltpa-dp:head=indep", queries=5)
    assert isinstance(model.head, IndependentHeads)
    assert [head.classify.in_features for head in model.head.heads] == [16, 32, 32]
    answers = []
    for head in model.head.heads:
        head.register_forward_hook(lambda _, __, out: answers.append(out))
    logits = model(torch.rand(2, 3, 16, 16), torch.tensor([1, 4])).logits
    torch.testing.assert_close(logits, sum(F.log_softmax(answer, 1) for answer in answers))


def test_pan_of_the_paper_is_a_gate_in_the_second_level_and_a_readout_in_the_third():
    out = build("none,pan")(torch.rand(2, 3, 16, 16))
    assert out.slots == (2, 3)
    torch.testing.assert_close(out.masks[1].sum((1, 2, 3)), torch.ones(2))
