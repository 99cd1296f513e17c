"""The diagonal LSTM compiled for the CPU, as a PyTorch operator: tasks, memory layouts and gradients.

A task is one direction over a group of images, which are the lanes of vectors. Tasks are distributed over threads. The
groups, and the order in which their gradients are added, do not depend on the number of threads, and neither do the
bits of the results.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.kernels.buffer_pool import POOL
from bench.kernels.diagonal_lstm import numba_backward, numba_forward
from bench.kernels.diagonal_lstm.first_order import refuse_second
from bench.kernels.diagonal_lstm.numba_gemm import BLOCK, KEPT, padded
from bench.kernels.thread_pool import run_in_threads

DTYPES = (torch.float32, torch.float64)


class GroupTask(NamedTuple):
    """One direction over a group of images."""

    direction: int  # 0 left, 1 right
    group: int
    first: int  # image
    lanes: int
    kept: slice  # of the numbers saved for the backward pass


def groups(batch: int, dtype: torch.dtype) -> Iterator[tuple[int, int]]:
    """Return (first image, lanes) of each group.

    A group of 16 or 24 keeps the multipliers of the machine busy; one of 8 leaves half of them idle. In fp32 the batch
    is therefore padded to a multiple of 8 and cut into groups of 16, with one group of 24 if needed.
    """
    eights, first = -(-batch // 8), 0
    while eights:
        count = 1 if dtype == torch.float64 or eights == 1 else 2 + eights % 2
        yield first, 8 * count
        first, eights = first + 8 * count, eights - count


def tasks(context: Tensor, t: int) -> list[GroupTask]:
    """Return the tasks, largest first, because threads take them in turn."""
    batch, _, m, n = context.shape
    made, start = [], 0
    for group, (first, lanes) in enumerate(groups(batch, context.dtype)):
        for direction in range(2):
            size = (m - direction) * n * t * KEPT * lanes
            made.append(GroupTask(direction, group, first, lanes, slice(start, start + size)))
            start += size
    return made


def _saved_size(context: Tensor, t: int) -> int:
    """Return how many numbers all tasks save together."""
    batch, _, m, n = context.shape
    return padded(batch, 8) * (2 * m - 1) * n * t * KEPT


def _array(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def _by_unit(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (gate, unit) as (unit, gate), along `dim`."""
    return torch.unflatten(gates, dim, (4, -1)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def _by_gate(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (unit, gate) as (gate, unit), along `dim`."""
    return torch.unflatten(gates, dim, (-1, 4)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def _interleave_four_rows(rows: Tensor) -> np.ndarray:
    """Return (2, R, S) as (2, R′/4 · S · 4): the S columns of each four rows, padded with zeros."""
    rows = pad(rows, (0, 0, 0, -rows.shape[1] % 4))
    return _array(rows.unflatten(1, (-1, 4)).transpose(2, 3).flatten(1))


@torch.library.custom_op("bench::diagonal_lstm_cpu", mutates_args=(), device_types="cpu")
def operator(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    """Return readout · h (2, B, p, m, n), and if `keep`, the values that the backward pass needs (otherwise empty)."""
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    x, shape = _array(context.permute(0, 2, 3, 1).flatten()), (batch, m, n, channels)
    weights, shown = (
        _interleave_four_rows(_by_unit(torch.cat([kernel_x, kernel_h], 2), 1)),
        _interleave_four_rows(readout),
    )
    biases = _array(_by_unit(bias, 2))
    out = context.new_empty(2, batch, p, m, n)
    kept = POOL.take(_saved_size(context, t) if keep else 0, x.dtype)

    def piece(task: GroupTask) -> None:
        d = task.direction
        numba_forward.forward(
            (0,) * task.lanes,
            shape,
            x,
            biases[d],
            weights[d],
            shown[d],
            task.first,
            bool(d),
            POOL.take(numba_forward.workspace_size(task.lanes, n, channels, t), x.dtype),
            kept[task.kept],
            out[d].numpy(),
        )

    run_in_threads([partial(piece, task) for task in tasks(context, t)])
    return out, torch.from_numpy(kept)


@operator.register_fake
def _(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    (batch, _, m, n), (_, p, t) = context.shape, readout.shape
    return context.new_empty(2, batch, p, m, n), context.new_empty(_saved_size(context, t) if keep else 0)


@torch.library.custom_op("bench::diagonal_lstm_cpu_backward", mutates_args=(), device_types="cpu")
def gradients(
    grad: Tensor,
    context: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    readout: Tensor,
    kept: Tensor,
    with_readout: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of context, bias, both kernels and readout; the last is empty unless requested."""
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    x, shape = _array(context.permute(0, 2, 3, 1).flatten()), (batch, m, n, channels)
    saved, given = _array(kept), _array(grad)
    kernel = _by_unit(torch.cat([kernel_x, kernel_h], 2), 1)
    size = padded(kernel.shape[2], BLOCK)
    weights = _interleave_four_rows(pad(kernel, (0, size - kernel.shape[2])).transpose(1, 2))
    shown = _interleave_four_rows(readout.transpose(1, 2))
    plan = tasks(context, t)
    count = len(plan) // 2
    d_x = POOL.take(2 * x.size, x.dtype).reshape(2, -1)
    d_bias = context.new_empty(2, batch, 4 * t)
    d_kernel = context.new_empty(count, 2, size, 4 * t)
    d_readout = context.new_empty(count, 2, p if with_readout else 0, t)

    def piece(task: GroupTask) -> None:
        d = task.direction
        numba_backward.backward(
            (0,) * task.lanes,
            shape,
            x,
            weights[d],
            shown[d],
            given[d],
            task.first,
            bool(d),
            saved[task.kept],
            POOL.take(numba_backward.workspace_size(task.lanes, n, channels, t, p), x.dtype),
            d_x[d],
            d_bias[d].numpy(),
            d_kernel[task.group, d].numpy(),
            d_readout[task.group, d].numpy(),
        )

    run_in_threads([partial(piece, task) for task in plan])
    d_kernel = _by_gate(_sum_groups(d_kernel)[:, : kernel.shape[2]].transpose(1, 2), 1)
    return (
        torch.add(*torch.from_numpy(d_x)).view(shape).permute(0, 3, 1, 2),
        _by_gate(d_bias, 2),
        d_kernel[:, :, :channels].contiguous(),
        d_kernel[:, :, channels:].contiguous(),
        _sum_groups(d_readout),
    )


def _sum_groups(parts: Tensor) -> Tensor:
    """Return the sum over the groups, in a fixed order."""
    result = parts[0].clone()
    for part in parts[1:]:
        result += part
    return result


@gradients.register_fake
def _(
    grad: Tensor,
    context: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    readout: Tensor,
    kept: Tensor,
    with_readout: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, channels, m, n = context.shape
    return (
        context.new_empty(batch, m, n, channels).permute(0, 3, 1, 2),
        context.new_empty(2, batch, kernel_h.shape[1]),
        context.new_empty(kernel_x.shape),
        context.new_empty(kernel_h.shape),
        context.new_empty(2, readout.shape[1] if with_readout else 0, readout.shape[2]),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    context, _, kernel_x, kernel_h, readout, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(context, kernel_x, kernel_h, readout, output[1])


def _backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    wanted = ctx.needs_input_grad[4]
    *found, d_readout = gradients(grad, *ctx.saved_tensors, wanted)
    return (*found, d_readout if wanted else None, None)


operator.register_autograd(_backward, setup_context=_save)
gradients.register_autograd(refuse_second)


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    arguments = (context, bias, kernel_x, kernel_h, readout)
    keep = torch.is_grad_enabled() and any(a.requires_grad for a in arguments)
    states: Tensor = operator(*arguments, keep)[0]
    return states
