"""VGG, the baseline of LTPA."""

import pytest
import torch
from torch import nn

import bench
from bench.networks import get_network
from bench.networks.vgg import STAGES, VGG, convolutions, halved, initialize, pool, stages


def count_multiplications(model: nn.Module, side: int) -> int:
    """Return how often convolutions and linear layers multiply for one image."""
    total = 0

    def count(module, given, out):
        nonlocal total
        total += out.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, side, side))
    return total


@pytest.mark.parametrize(
    ("network", "parameters", "millions"), [("vgg", 14_991_946, 313), ("vgg-late", 19_713_610, 3786)]
)
def test_late_pooling_multiplies_twelve_times_as_often(network, parameters, millions):
    model = bench.create_model("none", classes=10, queries=0, size=(32, 32), network=network)
    assert sum(p.numel() for p in model.parameters()) == parameters
    narrow = bench.create_model("none", classes=10, queries=0, size=(32, 32), width=8, network=network)
    first = 3 * 9 * 32 * 32  # multiplications of the first convolution, for each output channel
    head = 512 * 10
    measured = (count_multiplications(narrow, 32) - 8 * first - 64 * 10) * 64 + 64 * first + head
    assert round(measured / 1e6) == millions


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
