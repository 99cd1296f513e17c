"""VGG, the baseline of LTPA."""

import pytest
import torch
from torch import nn

import bench
from bench.networks import get_network
from bench.networks.vgg import STAGES, VGG, convolutions, halved, initialize, pool, stages


@pytest.mark.parametrize(("network", "parameters"), [("vgg", 14_991_946), ("vgg-late", 19_713_610)])
def test_networks_have_the_parameters_of_the_authors(network, parameters):
    with torch.device("meta"):
        model = bench.create_model("none", classes=10, queries=0, size=(32, 32), network=network)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_it_has_13_convolutions_with_the_dropouts_of_the_authors():
    model = bench.create_model("none", classes=10, queries=0, size=(32, 32), width=4, network="vgg")
    assert isinstance(model, VGG)
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 13
    found = [m.p for m in model.stages.modules() if isinstance(m, nn.Dropout)]
    assert found == [0.3, 0.4, *[0.4] * 6]
    assert [slot.size[0] for slot in get_network("vgg").layout(None, (32, 32)).slots] == [16, 8, 4, 2, 1]
    assert all(m.eps == 1e-3 for m in model.stages.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("side", [32, 50, 7])
def test_sizes_are_rounded_up(side):
    x = torch.rand(1, 1, side, side)
    for times in range(1, 6):
        x = pool(x)
        assert tuple(x.shape[2:]) == halved((side, side), times)


def test_convolutions_are_drawn_by_their_outputs():
    torch.manual_seed(0)
    built = stages(16)
    assert [stage[0].in_channels for stage in built] == [3, 16, 32, 64, 128]
    assert len(built) == len(STAGES)
    layers = convolutions(32, 64, (0.0,))
    initialize(layers)
    assert float(layers[0].weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert not layers[0].bias.any()
