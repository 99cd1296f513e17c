"""VGG with global average pooling."""

from itertools import pairwise

import torch
from torch import nn

import bench
from bench.attention.base import AverageReadout
from bench.networks import get_network
from bench.networks.heads import LinearHead
from bench.networks.vgg_gap import STAGES


def test_it_has_the_convolutions_of_vgg19_and_maps_of_8_positions():
    with torch.device("meta"):
        model = bench.create_model("none", classes=10, queries=0, size=(32, 32), network="vgg-gap")
    found = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(found) == sum(len(dropouts) for _, dropouts in STAGES) == 16
    widths = [3, 64, 64, 128, 128, *[256] * 4, *[512] * 8]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    norms = 2 * sum(widths[1:])
    assert sum(p.numel() for p in model.parameters()) == convolutions + norms + 512 * 10 + 10
    assert not any(isinstance(m, nn.Dropout | nn.MaxPool2d) for m in model.modules())
    assert [slot.size[0] for slot in get_network("vgg-gap").layout(None, (32, 32)).slots] == [16, 8, 8, 8, 8]


def test_without_attention_the_classes_are_linear_in_the_mean_of_the_last_features():
    torch.manual_seed(0)
    model = bench.create_model("none", classes=3, queries=0, size=(17, 20), width=2, network="vgg-gap").eval()
    assert (type(model.readout), type(model.head)) == (AverageReadout, LinearHead)
    kept = []
    model.stages[-1].register_forward_hook(lambda _, __, out: kept.append(out))
    logits = model(torch.rand(2, 3, 17, 20)).logits
    assert tuple(kept[0].shape) == (2, 16, *model.layout.slots[-1].size)
    torch.testing.assert_close(logits, model.head.classify(kept[0].mean((2, 3))))
