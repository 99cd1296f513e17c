"""The compiled backward pass of one direction and one group of images."""

import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.diagonal_lstm import numba_backward, numba_op, reference
from tests.bench.kernels.diagonal_lstm.cases import arguments


@pytest.mark.parametrize(("m", "n", "batch"), [(1, 1, 1), (2, 3, 3), (3, 1, 9), (1, 4, 17)])
@pytest.mark.parametrize("direction", [0, 1])
def test_gradients_of_one_direction_equal_the_reference(direction, m, n, batch):
    """The output of the other direction has the gradient 0."""
    inputs = arguments(m, n, 4, channels=5, batch=batch, p=2)
    context, bias, kernel_x, kernel_h, readout = (x.detach() for x in inputs)
    out, kept = numba_op.operator(context, bias, kernel_x, kernel_h, readout, True)
    grad = torch.zeros_like(out)
    grad[direction] = torch.randn(out[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = numba_op.gradients(grad, context, kernel_x, kernel_h, readout, kept, True)
    states = torch.einsum("dpt,dbtij->dbpij", inputs[4], reference.diagonal_lstm(*inputs[:4]))
    for one, other in zip(found, torch.autograd.grad(states, inputs, grad), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    for gradient in found[1:]:
        assert (gradient[1 - direction] == 0).all()


def test_workspace_grows_with_images_columns_and_rows_of_the_readout():
    smallest = numba_backward.workspace_size(8, 3, 5, 4, 2)
    assert numba_backward.workspace_size(16, 3, 5, 4, 2) > smallest
    assert numba_backward.workspace_size(8, 4, 5, 4, 2) == smallest + 8 * 4
    assert numba_backward.workspace_size(8, 3, 5, 4, 3) == smallest + 8 * (1 + 4)
