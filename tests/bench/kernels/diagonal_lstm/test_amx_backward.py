"""The backward pass of one direction and one group of images, by AMX."""

import numba
import numpy as np
import pytest
import torch

from bench.kernels.arrays import flat
from bench.kernels.diagonal_lstm import amx_backward, amx_op, relative_error
from bench.kernels.diagonal_lstm.amx_backward import PENDING, add_weight_gradients
from bench.kernels.numba_tiles import LAYOUT, configure_tiles, release_tiles
from tests.bench.kernels.diagonal_lstm.amx_cases import BOUND, arguments, exact


@pytest.mark.parametrize(("m", "n", "batch"), [(1, 1, 1), (2, 3, 3), (3, 1, 17), (1, 4, 40)])
@pytest.mark.parametrize("direction", [0, 1])
def test_gradients_of_one_direction_equal_the_reference(direction, m, n, batch):
    """The output of the other direction has the gradient 0."""
    inputs = arguments(m, n, batch)
    context, bias, kernel_x, kernel_h, readout = (x.detach() for x in inputs)
    out, kept = amx_op.operator(context, bias, kernel_x, kernel_h, readout, True)
    grad = torch.zeros_like(out)
    grad[direction] = torch.randn(out[0].shape, generator=torch.Generator().manual_seed(1))
    found = amx_op.gradients(grad, context, kernel_x, kernel_h, readout, kept, True)
    states, doubled = exact(inputs)
    for k, pair in enumerate(zip(found, torch.autograd.grad(states, doubled, grad.double()), strict=True)):
        assert relative_error(*pair) < BOUND, k
    for gradient in found[1:]:
        assert (gradient[1 - direction] == 0).all()


@numba.njit
def summed(layout, rows, columns, words, across, turned, count, out):
    configure_tiles(layout)
    add_weight_gradients(rows, columns, words, across, turned, count, out)
    release_tiles()


@pytest.mark.parametrize("count", [16, 32, 48, 240, PENDING])
def test_gradients_of_weights_are_added_over_the_first_columns(count):
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.randn(size, PENDING, generator=generator).bfloat16() for size in (64, 96))
    across, out = torch.empty(96 * PENDING).bfloat16(), torch.ones(64, 96)
    wanted = 1 + rows[:, :count].double() @ columns[:, :count].double().T
    words, turned = flat(columns).view(np.float32), flat(across).view(np.float32)
    summed(LAYOUT, flat(rows), flat(columns), words, flat(across), turned, count, flat(out))
    np.testing.assert_allclose(out.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_workspaces_grow_with_images_columns_and_rows_of_the_readout():
    smallest = amx_backward.workspace_size(16, 3, 32, 32, 2)
    assert amx_backward.workspace_size(16, 4, 32, 32, 2) == smallest + 16 * 32
    assert amx_backward.workspace_size(16, 3, 32, 32, 3) == smallest + 16 * 33
    assert amx_backward.halves_size(32, 32, 32) == amx_backward.halves_size(16, 32, 32) + 16 * 128
