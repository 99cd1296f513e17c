"""ResNet-164."""

import torch

import bench
from bench.networks import get_network
from bench.networks.resnet164 import Bottleneck


def test_it_has_164_layers_and_1_7_million_parameters():
    model = bench.create_model("none", classes=10, queries=0, size=(32, 32), network="resnet164")
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    shortcuts = [block.shortcut for block in model.blocks if block.shortcut is not None]
    assert (len(layers) - len(shortcuts), len(shortcuts)) == (164, 3)
    assert sum(p.numel() for p in model.parameters()) == 1_703_258


def test_levels_are_the_ends_of_the_stages():
    layout = get_network("resnet164").layout(None, (32, 32))
    levels = [layout.slots[k] for k in layout.levels]
    assert [(slot.channels, slot.size) for slot in levels] == [(64, (32, 32)), (128, (16, 16)), (256, (8, 8))]
    assert len(layout.slots) == 55


def test_a_block_adds_its_branch_to_the_identity():
    class NoAttention:
        def block(self, slot, x, identity):
            return x, identity

        def keep(self, slot, x):
            self.kept = slot

    torch.manual_seed(0)
    block, run, x = Bottleneck(5, 8, 2, 1).eval(), NoAttention(), torch.randn(2, 8, 4, 4)
    with torch.no_grad():
        block.conv3.weight.zero_()
    assert torch.equal(block(x, run), x)
    assert run.kept == 5
    strided = Bottleneck(0, 4, 2, 2).eval()
    assert strided(torch.randn(2, 4, 5, 5), run).shape == (2, 8, 3, 3)
