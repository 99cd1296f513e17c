"""The convolution on the shortcut of a residual block."""

import pytest
import torch
from torch import nn

from bench.networks.shortcut import PointwiseShortcut


@pytest.mark.parametrize("size", [(9, 12), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_it_equals_a_convolution_with_a_stride(size, stride):
    own, other = PointwiseShortcut(3, 5, stride).double(), nn.Conv2d(3, 5, 1, stride, bias=False).double()
    other.load_state_dict(own.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    out, expected = own(x), other(y)
    slope = torch.randn_like(out)
    out.backward(slope)
    expected.backward(slope)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(own.weight.grad, other.weight.grad)


def test_narrow_channels_last_features_have_a_gradient():
    """The sizes at which a convolution with a stride ends the process in PyTorch 2.14."""
    layer = PointwiseShortcut(4, 8, 2).to(memory_format=torch.channels_last)
    x = torch.randn(27, 4, 64, 64).to(memory_format=torch.channels_last).requires_grad_()
    for _ in range(3):
        layer(x).sum().backward()
    torch.testing.assert_close(x.grad[:, :, 1::2], torch.zeros_like(x.grad[:, :, 1::2]))
    kept = layer.weight.detach().sum(0)[:, 0, 0]
    torch.testing.assert_close(x.grad[5, :, 4, 6], 3 * kept)
