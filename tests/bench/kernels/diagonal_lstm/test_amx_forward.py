"""The forward pass of one direction and one group of images, by AMX."""

import pytest
import torch

from bench.kernels.diagonal_lstm import amx_forward, amx_op, relative_error
from tests.bench.kernels.diagonal_lstm.amx_cases import arguments


@pytest.mark.parametrize(("m", "n", "batch"), [(1, 1, 1), (2, 3, 17), (3, 2, 40)])
def test_values_are_the_same_whether_they_are_kept_or_not(m, n, batch):
    inputs = [x.detach() for x in arguments(m, n, batch)]
    out, kept = amx_op.operator(*inputs, True)
    again, nothing = amx_op.operator(*inputs, False)
    assert torch.equal(out, again)
    assert kept.dtype == torch.bfloat16
    assert nothing.numel() == 0


def test_the_kept_states_give_the_output():
    """The last unit pairs of each cell are h: with an identity as readout, they are the output, rounded."""
    m, n, batch, t, lanes = 2, 3, 16, 32, 16
    context, bias, kernel_x, kernel_h, _ = (x.detach() for x in arguments(m, n, batch, p=t))
    readout = torch.eye(t).expand(2, t, t).bfloat16()
    out, kept = amx_op.operator(context, bias, kernel_x, kernel_h, readout, True)
    cells = kept[: m * n * t * 6 * lanes].view(m, n, 6 * t * lanes)
    states = cells[:, :, 5 * t * lanes :].view(m, n, t // 2, lanes, 2).permute(3, 2, 4, 0, 1).flatten(1, 2)
    assert torch.equal(states, out[0].bfloat16())
    memory = cells[:, :, : 5 * t * lanes].view(m, n, t, 5, lanes)
    o, c = memory[:, :, :, 0].float(), memory[:, :, :, 4].float()
    assert relative_error((o * c.tanh()).permute(3, 2, 0, 1), out[0]) < 6e-3


def test_workspace_grows_with_images_and_units():
    smallest = amx_forward.workspace_size(16, 32)
    assert amx_forward.workspace_size(32, 32) == 2 * smallest
    assert amx_forward.workspace_size(16, 64) == smallest + 16 * 32 * 10
