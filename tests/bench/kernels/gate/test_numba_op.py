"""The gate as a differentiable function compared with BatchNorm of the gated features in double precision."""

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("numba")
from bench.kernels.gate.numba_op import gated_norm

INDEX = torch.tensor([2, 0, 2, 1, 0])


def arguments() -> list[torch.Tensor]:
    """Return x, mask, weight, bias, running mean and running variance in double precision."""
    generator = torch.Generator().manual_seed(0)
    x, mask = torch.randn(3, 8, 3, 5, generator=generator), torch.rand(5, 1, 3, 5, generator=generator)
    weight, bias, mean, variance = torch.rand(4, 8, generator=generator)
    return [given.double() for given in (x, mask, weight, bias, mean, variance)]


@pytest.mark.parametrize("training", [True, False])
def test_gated_norm_and_its_gradients_equal_batch_norm(training):
    x, mask, weight, bias, mean, variance = arguments()
    inputs = [given.requires_grad_() for given in (x, mask, weight, bias)]
    wanted = F.batch_norm(x[INDEX] * mask, mean, variance, weight, bias, training, 0.3, 0.01)
    slope = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.autograd.grad(wanted, inputs, slope)
    rough = [given.detach().float().requires_grad_() for given in inputs]
    running = [given.float() for given in arguments()[4:]]
    out = gated_norm(rough[0], rough[1], INDEX, (*rough[2:], *running), training, 0.3, 0.01)
    found = torch.autograd.grad(out, rough, slope.float())
    pairs = [(out, wanted), *zip(found, expected, strict=True), (running[0], mean), (running[1], variance)]
    for one, other in pairs:
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)
