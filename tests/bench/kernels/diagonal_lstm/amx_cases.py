"""Arguments in bf16 for tests of the diagonal LSTM by AMX. Importing this skips the tests where there is no AMX."""

import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.diagonal_lstm import IMPLEMENTATIONS, example
from tests.bench.kernels.processor import HAS_AMX, REASON

if not HAS_AMX:
    pytest.skip(REASON, allow_module_level=True)

BOUND = 6e-3
"""Largest relative error of values and gradients. A number in bf16 has a relative error up to 4e-3."""


def arguments(m, n, batch, p=2, channels=32, t=32):
    """Return arguments in bf16, the bias in fp32, all of which need gradients."""
    given = [x.bfloat16() for x in example(batch, m, n, channels, t, p)]
    given[1] = given[1].float()
    return [x.requires_grad_() for x in given]


def exact(inputs):
    """Return the values of the reference in fp64, and its inputs."""
    doubled = [x.detach().double().requires_grad_() for x in inputs]
    return IMPLEMENTATIONS["reference"](*doubled), doubled


def slope_of(out):
    return torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(out.dtype)


def outcome(compute, inputs):
    """Return values and every gradient."""
    out = compute(*inputs)
    return [out.detach(), *torch.autograd.grad((out * slope_of(out)).sum(), inputs)]
