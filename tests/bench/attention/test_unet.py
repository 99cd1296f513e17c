"""The U-Net compared with an independent implementation."""

import math

import pytest
import torch
from torch.nn import functional as F

from bench.attention.unet import UNet, UNetAttentionRNN
from tests.bench.attention.helpers import inputs


def unet_as_written(net: UNet, x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Return the output of a U-Net, computed level by level: [features of the level, enlarged level below]."""
    ups = [*net.up][::-1]  # the first one is the deepest

    def level(k: int, x: torch.Tensor) -> torch.Tensor:
        own = F.conv2d(F.pad(x, (1, 1, 1, 1)), net.down[k].weight, net.down[k].bias)
        if k == 0:
            own = own + (query @ net.embedding.linear.weight.T)[:, :, None, None]
        own = own.clamp_min(0)
        if k == len(ups):
            return own
        height, width = own.shape[2:]
        even = F.pad(own, (0, width % 2, 0, height % 2), value=-math.inf)
        quarters = [even[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        below = level(k + 1, torch.stack(quarters).amax(dim=0))
        large = below[:, :, torch.arange(height) // 2][..., torch.arange(width) // 2]
        both = torch.cat([own, large], dim=1)
        return F.conv2d(F.pad(both, (1, 1, 1, 1)), ups[k].weight, ups[k].bias).clamp_min(0)

    return level(0, x)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(13, 7), (9, 10), (6, 6), (1, 5), (1, 1)])
def test_unet_equals_its_formula(depth, height, width):
    torch.manual_seed(0)
    net, (x, query) = UNet(5, 4, depth).double(), inputs(height, width)
    torch.testing.assert_close(net(x, query), unet_as_written(net, x, query))


@pytest.mark.parametrize(("depth", "before", "after"), [(1, 1, 1), (2, 5, 4), (3, 11, 10)])
def test_receptive_field_of_a_unet_follows_from_its_depth(depth, before, after):
    """Position 20 is changed. Each level adds 3 × 3 neighbours and complete cells of 2^level positions."""
    torch.manual_seed(0)
    net, (x, query) = UNet(3, 4, depth).double(), inputs(41, 39, batch=1, channels=3)
    moved = x.clone()
    moved[:, :, 20, 20] += 3
    changed = (net(moved, query) != net(x, query)).any(dim=1)[0].nonzero() - 20
    assert changed.amin(dim=0).tolist() == [-before] * 2
    assert changed.amax(dim=0).tolist() == [after] * 2


def test_unet_attention_rnn_uses_a_unet_as_local_context():
    module, (x, query) = UNetAttentionRNN(5, 4, depth=3).double(), inputs(5, 6)
    seen = []
    module.context.register_forward_hook(lambda *_: pytest.fail("its two parts are called"))
    module.context.prepare = lambda given: seen.append(given) or given
    module.context.answer = lambda *given: seen.append(given[1]) or torch.zeros(3, 32, 5, 6, dtype=torch.float64)
    assert module(x, query).shape == (3, 1, 5, 6)
    assert torch.equal(seen[0], x)
    assert torch.equal(seen[1], query)
