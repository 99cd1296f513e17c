"""Sizes and arguments for tests of the diagonal LSTM, its values and gradients, and what takes over for it."""

import warnings

import pytest
import torch

from bench.kernels.diagonal_lstm import (
    FALLBACK,
    IMPLEMENTATIONS,
    diagonal_lstm,
    example,
)

SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (7, 13), (13, 7), (12, 12)]
ON_CPU = [name for name in IMPLEMENTATIONS if name != "triton"]  # triton has separate tests
FAST = [name for name in ON_CPU if name != "reference"]


def arguments(m, n, t=4, channels=3, batch=2, p=None, dtype=torch.float64):
    """Return arguments of `diagonal_lstm` that need gradients, with a readout if p is given."""
    given = example(batch, m, n, channels, t, p or 1)[: 5 if p else 4]
    return [x.to(dtype).requires_grad_() for x in given]


def run(name, inputs, weight=None):
    """Return values and every gradient."""
    out = diagonal_lstm(*inputs[:4], name, *inputs[4:])
    weight = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad((out * weight.to(out)).sum(), inputs)]


single = {"dtype": torch.float32, "channels": 5, "p": 2}


def call(name, inputs):
    return diagonal_lstm(*inputs[:4], name, *inputs[4:])


def equal(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def taken_over(message):
    inputs = arguments(2, 3)
    expected = diagonal_lstm(*inputs, FALLBACK)
    with pytest.warns(RuntimeWarning, match=message):
        assert torch.equal(diagonal_lstm(*inputs), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no second warning
        assert torch.equal(diagonal_lstm(*inputs), expected)
        assert torch.equal(diagonal_lstm(*inputs, "cpu"), expected)


def no_images(inputs):
    context, bias, *kernels = inputs
    return context[:0], bias[:, :0], *kernels
