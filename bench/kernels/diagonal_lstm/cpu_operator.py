"""What the compiled diagonal LSTMs of the CPU, `numba_op` and `amx_op`, have in common."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.kernels.arrays import array
from bench.kernels.diagonal_lstm import numba_layout
from bench.kernels.diagonal_lstm.first_order import refuse_second
from bench.kernels.diagonal_lstm.numba_gemm import KEPT, padded
from bench.kernels.thread_pool import run_in_threads


class GroupTask(NamedTuple):
    """One direction over a group of images."""

    direction: int  # 0 left, 1 right
    group: int
    first: int  # image
    lanes: int
    used: int  # images
    kept: slice  # of the numbers saved for the backward pass
    map: slice  # of the numbers of the maps of all groups


def map_size(context: Tensor, multiple: int) -> int:
    """Return the size of the maps of all groups, if the batch is padded to a multiple of `multiple`."""
    batch, channels, m, n = context.shape
    return padded(batch, multiple) * channels * m * n


def saved_size(context: Tensor, t: int, multiple: int) -> int:
    """Return how many numbers all tasks save together, with the maps of all groups after them."""
    batch, _, m, n = context.shape
    return padded(batch, multiple) * (2 * m - 1) * n * t * KEPT + map_size(context, multiple)


def by_unit(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (gate, unit) as (unit, gate), along `dim`."""
    return torch.unflatten(gates, dim, (4, -1)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def by_gate(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (unit, gate) as (gate, unit), along `dim`."""
    return torch.unflatten(gates, dim, (-1, 4)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def interleave_four_rows(rows: Tensor) -> np.ndarray:
    """Return (2, R, S) as (2, R′/4 · S · 4): the S columns of each four rows, padded with zeros."""
    rows = pad(rows, (0, 0, 0, -rows.shape[1] % 4))
    return array(rows.unflatten(1, (-1, 4)).transpose(2, 3).flatten(1))


def sum_groups(parts: Tensor) -> Tensor:
    """Return the sum over the groups, in a fixed order."""
    result = parts[0].clone()
    for part in parts[1:]:
        result += part
    return result


def add_directions(context: Tensor, plan: list[GroupTask], d_maps: np.ndarray, d_context: Tensor) -> None:
    """Write the sum of the gradients of both directions to `d_context` (B, m, n, C).

    Args:
        context: (B, C, m, n).
        plan: the tasks.
        d_maps: (2, ·), the gradients in the maps of all groups; the first becomes the sum.
        d_context: output.
    """
    _, channels, m, n = context.shape

    def add(task: GroupTask) -> None:
        left, right = (d_map[task.map] for d_map in d_maps)
        where = (task.first, task.used, task.lanes, m * n, channels)
        numba_layout.add_from_lanes(left, right, *where, d_context.numpy().ravel())

    run_in_threads([partial(add, task) for task in plan if not task.direction])


def fake_gradients(
    grad: Tensor,
    context: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    readout: Tensor,
    kept: Tensor,
    with_readout: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of the right shapes, dtypes and strides, without values."""
    batch, channels, m, n = context.shape
    return (
        context.new_empty(batch, m, n, channels).permute(0, 3, 1, 2),
        grad.new_empty(2, batch, kernel_h.shape[1]),
        context.new_empty(kernel_x.shape),
        context.new_empty(kernel_h.shape),
        context.new_empty(2, readout.shape[1] if with_readout else 0, readout.shape[2]),
    )


def register_gradients(operator: Any, gradients: Any) -> None:
    """Register the gradients of an operator, both as in `numba_op`. They cannot be differentiated again."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        context, _, kernel_x, kernel_h, readout, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(context, kernel_x, kernel_h, readout, output[1])

    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 6
        wanted = ctx.needs_input_grad[4]
        *found, d_readout = gradients(grad, *ctx.saved_tensors, wanted)
        return (*found, d_readout if wanted else None, None)

    gradients.register_fake(fake_gradients)
    operator.register_autograd(backward, setup_context=save)
    gradients.register_autograd(refuse_second)


def call(operator: Any, *arguments: Tensor) -> Tensor:
    """Return the states by an operator, which saves what its gradients need, if they can be asked for."""
    keep = torch.is_grad_enabled() and any(given.requires_grad for given in arguments)
    states: Tensor = operator(*arguments, keep)[0]
    return states
