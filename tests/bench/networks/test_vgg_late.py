"""VGG with late pooling."""

import torch

import bench
from bench.networks import get_network
from bench.networks.vgg_late import Tail, Trunk, level_slots


def test_levels_have_the_sizes_of_the_paper():
    slots = level_slots(64, (32, 32))
    assert [(slot.name, slot.channels, slot.size) for slot in slots] == [
        ("l1", 256, (32, 32)),
        ("l2", 512, (16, 16)),
        ("l3", 512, (8, 8)),
    ]
    assert get_network("vgg-late").layout(None, (32, 32)).slots[-1].size == (1, 1)
    assert get_network("vgg-late").layout(None, (100, 100)).slots[-1].size == (4, 4)


def test_features_have_the_sizes_of_the_layout():
    model = bench.create_model("none", classes=3, queries=0, size=(16, 20), width=4, network="vgg-late").eval()
    assert (type(model.trunk), type(model.tail)) == (Trunk, Tail)
    seen = []
    model.tail.register_forward_hook(lambda _, given, out: seen.extend([given[0].shape, out.shape]))
    model(torch.rand(2, 3, 16, 20))
    assert [tuple(shape) for shape in seen] == [(2, 32, 4, 5), (2, 32, *model.layout.slots[-1].size)]
