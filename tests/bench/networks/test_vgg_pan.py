"""VGG-PAN, the network of LTPA for progressive attention."""

import torch
from torch.nn import functional as F

import bench
from bench.attention.base import BlockGate, PooledReadout
from bench.networks import get_network

VGG_PAN = "none,ltpa-pan"


def build(attn: str = VGG_PAN, network: str = "vgg-pan"):
    torch.manual_seed(0)
    return bench.create_model(attn, classes=3, queries=0, size=(32, 32), width=4, network=network).eval()


def test_the_second_level_is_multiplied_by_a_sigmoid_and_the_third_is_weighted_by_a_softmax():
    model, kept = build(), {}
    assert [*model.gates] == ["1"]
    assert (type(model.gates["1"]), type(model.readout)) == (BlockGate, PooledReadout)
    for name, layer in (
        ("l2", model.trunk.stages[3]),
        ("l3", model.trunk.stages[4]),
        ("g", model.gates["1"].attend.tail),
    ):
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    model.trunk.stages[4].register_forward_hook(lambda _, given, __: kept.update(after=given[0]))
    out = model(torch.rand(2, 3, 32, 32))
    score = model.gates["1"].attend.score
    l2 = kept["l2"]
    first = F.conv2d(l2 + kept["g"][:, :, None, None], score.weight, score.bias).sigmoid()
    torch.testing.assert_close(out.masks[0], first)
    torch.testing.assert_close(kept["after"], F.max_pool2d(l2 * first, 2))
    u = model.readout.attend.score.weight.flatten()
    second = torch.einsum("bchw,c->bhw", kept["l3"], u).flatten(1).softmax(1).view_as(out.masks[1])
    torch.testing.assert_close(out.masks[1], second)
    torch.testing.assert_close(
        out.logits, model.head.classify(model.head.norm((kept["l3"] * second).sum((2, 3))).relu())
    )
    assert (out.slots, out.mask_power) == ((2, 3), 1.0)
    assert [tuple(mask.shape[2:]) for mask in out.masks] == [(16, 16), (8, 8)]


def test_parameters_are_those_of_the_authors_program_without_those_that_have_no_effect():
    """Without effect are a bias before BatchNorm, and the tail of the softmax level."""
    with torch.device("meta"):
        model = bench.create_model(VGG_PAN, classes=10, queries=0, size=(32, 32), network="vgg-pan")
        late = bench.create_model("none", classes=10, queries=0, size=(32, 32), network="vgg-late")
    convolution, norm = 9 * 512**2, 2 * 512
    tail = 2 * (convolution + norm) + 512**2 + 512
    heads = norm + 512 * 10 + 10
    trunk = sum(p.numel() for p in late.trunk.parameters())
    assert sum(p.numel() for p in model.parameters()) == trunk + tail + 2 * (512 + 1) + heads


def test_slots_are_the_levels_of_vgg_att_and_gates_have_no_norm():
    slots, others = (get_network(name).layout(None, (32, 32)).slots for name in ("vgg-pan", "vgg-att"))
    assert [(slot.channels, slot.size) for slot in slots] == [(slot.channels, slot.size) for slot in others]
    assert [slot.kind for slot in slots] == ["scale", "scale", "readout"]
