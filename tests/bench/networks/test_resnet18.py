"""ResNet-18 compared with torchvision."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import bench
from bench.attention.base import BlockGate
from bench.networks import get_network
from bench.networks.resnet18 import ResNet18


@pytest.fixture(scope="module")
def pair() -> tuple[ResNet18, nn.Module]:
    """Return the network without attention, and torchvision's with its stem replaced and the same weights."""
    torch.manual_seed(0)
    theirs = resnet18(num_classes=100)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    own = bench.create_model("none", classes=100, queries=0, size=(32, 32), network="resnet18")
    weights = {name.replace("fc.", "head.classify."): value for name, value in theirs.state_dict().items()}
    own.load_state_dict(weights)
    return own, theirs


def test_it_has_the_published_number_of_parameters(pair):
    assert [sum(p.numel() for p in model.parameters()) for model in pair] == [11_220_132] * 2


@pytest.mark.parametrize("training", [True, False])
def test_without_attention_it_equals_torchvision(pair, training):
    own, theirs = (model.train(training) for model in pair)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(own(images).logits, theirs(images), rtol=1e-5, atol=1e-5)


def test_slots_are_in_every_block():
    layout = get_network("resnet18").layout(None, (32, 32))
    assert [(slot.channels, slot.size[0]) for slot in layout.slots] == [
        *[(64, 32)] * 2,
        *[(128, 16)] * 2,
        *[(256, 8)] * 2,
        *[(512, 4)] * 3,
    ]
    assert layout.levels == (1, 3, 5, 8)
    assert get_network("resnet18").layout(16, (33, 48)).slots[-1].size == (5, 6)


def test_attention_acts_before_the_sum():
    torch.manual_seed(0)
    model = bench.create_model("pan", classes=3, queries=0, size=(8, 8), width=4, network="resnet18").eval()
    assert all(isinstance(gate, BlockGate) for gate in model.gates.values())
    inside, out = [], []
    block = model.layer1[0]
    block.bn2.register_forward_hook(lambda _, __, features: inside.append(features))
    block.register_forward_hook(lambda _, given, features: out.append((given[0], features)))
    masks = model(torch.rand(2, 3, 8, 8)).masks
    identity, features = out[0]
    torch.testing.assert_close(features, (identity + inside[0] * masks[0]).relu())
