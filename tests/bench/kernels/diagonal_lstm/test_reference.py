"""The reference of the weight gradients compared with autograd."""

import pytest
import torch

from bench.kernels.diagonal_lstm import reference
from tests.bench.kernels.diagonal_lstm.cases import SHAPES, arguments


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize(("t", "batch", "p"), [(1, 1, 1), (5, 3, 2)])
def test_the_reference_of_weight_gradients_equals_autograd(m, n, t, batch, p):
    """Additional channels are added to the gates, so that their gradient by autograd is that of each gate's sum."""
    context, bias, kernel_x, kernel_h, readout = inputs = arguments(m, n, t, batch=batch, p=p)
    added = torch.zeros(batch, 8 * t, m, n, dtype=torch.float64, requires_grad=True)
    one = torch.eye(8 * t, dtype=torch.float64).unflatten(0, (2, 4 * t))
    states = reference.diagonal_lstm(torch.cat([context, added], 1), bias, torch.cat([kernel_x, one], 2), kernel_h)
    out = torch.einsum("dpt,dbtij->dbpij", readout, states)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    *expected, d_added = torch.autograd.grad((out * grad).sum(), [*inputs[1:], added])
    left, right = d_added.permute(0, 2, 3, 1).split(4 * t, 3)
    h = [
        reference.one_direction(x, *(given[d] for given in (bias, kernel_x, kernel_h))).permute(0, 2, 3, 1)
        for d, x in enumerate((context, context.flip(-1)))
    ]
    d_gates = torch.stack([left, right.flip(2)])
    found = reference.weight_gradients(context.permute(0, 2, 3, 1), torch.stack(h), d_gates, grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_skewed_rows_are_shifted_and_can_be_restored(m, n):
    x = torch.randn(2, 3, m, n)
    skewed = reference.skew(x)
    assert skewed.shape == (2, 3, m, m + n - 1)
    assert torch.equal(reference.unskew(skewed, n), x)
    assert skewed.count_nonzero() == x.count_nonzero()
    assert torch.equal(skewed[:, :, -1, m - 1 :], x[:, :, -1])
