"""The diagonal LSTM compiled for the CPU, as a PyTorch operator: tasks, memory layouts and gradients.

A task is one direction over a group of images, which are the lanes of vectors. Tasks are distributed over threads. The
groups, and the order in which their gradients are added, do not depend on the number of threads, and neither do the
bits of the results.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.kernels import numba_simd
from bench.kernels.arrays import array
from bench.kernels.buffer_pool import POOL
from bench.kernels.diagonal_lstm import numba_backward, numba_forward, numba_layout
from bench.kernels.diagonal_lstm.cpu_operator import (
    GroupTask,
    add_directions,
    by_gate,
    by_unit,
    call,
    interleave_four_rows,
    map_size,
    register_gradients,
    saved_size,
    sum_groups,
)
from bench.kernels.diagonal_lstm.numba_gemm import BLOCK, KEPT, padded
from bench.kernels.numba_simd import PIECE
from bench.kernels.thread_pool import run_in_threads

DTYPES = (torch.float32, torch.float64)


def groups(batch: int, dtype: torch.dtype) -> Iterator[tuple[int, int]]:
    """Return (first image, lanes) of each group.

    A group of two or three registers keeps the multipliers of the machine busy; one of one register leaves half of them
    idle. In fp32 the batch is therefore padded to a multiple of a register's numbers and cut into groups of two
    registers, with one group of three if needed.
    """
    size = _register_size(batch, dtype)
    pieces, first = padded(batch, size) // size, 0
    while pieces:
        count = 1 if dtype == torch.float64 or pieces == 1 else 2 + pieces % 2
        yield first, size * count
        first, pieces = first + size * count, pieces - count


def _register_size(batch: int, dtype: torch.dtype) -> int:
    """Return how many images a register holds; the batch is padded to a multiple of it."""
    return numba_simd.WIDE_PIECE if dtype == torch.float32 and batch > PIECE else PIECE


def tasks(context: Tensor, t: int) -> list[GroupTask]:
    """Return the tasks, largest first, because threads take them in turn."""
    batch, channels, m, n = context.shape
    made, start = [], 0
    for group, (first, lanes) in enumerate(groups(batch, context.dtype)):
        for direction in range(2):
            size = (m - direction) * n * t * KEPT * lanes
            kept, cells = slice(start, start + size), m * n * channels
            used, place = min(lanes, batch - first), slice(first * cells, (first + lanes) * cells)
            made.append(GroupTask(direction, group, first, lanes, used=used, kept=kept, map=place))
            start += size
    return made


def _padding(context: Tensor) -> int:
    """Return what the batch is padded to a multiple of."""
    return _register_size(len(context), context.dtype)


def _saved_size(context: Tensor, t: int) -> int:
    """Return how many numbers all tasks save together, see `saved_size`."""
    return saved_size(context, t, _padding(context))


def _maps_of_groups(context: Tensor, plan: list[GroupTask], out: np.ndarray) -> None:
    """Write the maps of all groups to `out`."""
    _, channels, m, n = context.shape
    x = array(context.permute(0, 2, 3, 1).flatten())

    def copy(task: GroupTask) -> None:
        numba_layout.to_lanes(x, task.first, task.used, task.lanes, m * n, channels, out[task.map])

    run_in_threads([partial(copy, task) for task in plan if not task.direction])


@torch.library.custom_op("bench::diagonal_lstm_cpu", mutates_args=(), device_types="cpu")
def operator(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    """Return readout · h (2, B, p, m, n), and if `keep`, the values that the backward pass needs (otherwise empty)."""
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    plan, dtype = tasks(context, t), array(context[:0]).dtype
    weights, shown = (
        interleave_four_rows(by_unit(torch.cat([kernel_x, kernel_h], 2), 1)),
        interleave_four_rows(readout),
    )
    biases = array(by_unit(bias, 2))
    out = context.new_empty(2, batch, p, m, n)
    kept = POOL.take(saved_size(context, t, _padding(context)) if keep else 0, dtype)
    x = (
        kept[-map_size(context, _padding(context)) :]
        if keep
        else POOL.take(map_size(context, _padding(context)), dtype)
    )
    _maps_of_groups(context, plan, x)

    def piece(task: GroupTask) -> None:
        d = task.direction
        numba_forward.forward(
            (0,) * task.lanes,
            (m, n, channels),
            task.used,
            x[task.map],
            biases[d],
            weights[d],
            shown[d],
            task.first,
            bool(d),
            POOL.take(numba_forward.workspace_size(task.lanes, n, channels, t), dtype),
            kept[task.kept],
            out[d].numpy(),
        )

    run_in_threads([partial(piece, task) for task in plan])
    return out, torch.from_numpy(kept)


@operator.register_fake
def _(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    (batch, _, m, n), (_, p, t) = context.shape, readout.shape
    return context.new_empty(2, batch, p, m, n), context.new_empty(
        saved_size(context, t, _padding(context)) if keep else 0
    )


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
    saved, given = array(kept), array(grad)
    x = saved[-map_size(context, _padding(context)) :]
    kernel = by_unit(torch.cat([kernel_x, kernel_h], 2), 1)
    size = padded(kernel.shape[2], BLOCK)
    weights = interleave_four_rows(pad(kernel, (0, size - kernel.shape[2])).transpose(1, 2))
    shown = interleave_four_rows(readout.transpose(1, 2))
    plan = tasks(context, t)
    count = len(plan) // 2
    d_maps = POOL.take(2 * x.size, x.dtype).reshape(2, -1)
    d_context = context.new_empty(batch, m, n, channels)
    d_bias = context.new_empty(2, batch, 4 * t)
    d_kernel = context.new_empty(count, 2, size, 4 * t)
    d_readout = context.new_empty(count, 2, p if with_readout else 0, t)

    def piece(task: GroupTask) -> None:
        d = task.direction
        numba_backward.backward(
            (0,) * task.lanes,
            (0,) * numba_simd.piece_size(context.dtype == torch.float32, task.lanes),
            (m, n, channels),
            task.used,
            x[task.map],
            weights[d],
            shown[d],
            given[d],
            task.first,
            bool(d),
            saved[task.kept],
            POOL.take(numba_backward.workspace_size(task.lanes, n, channels, t, p), x.dtype),
            d_maps[d][task.map],
            d_bias[d].numpy(),
            d_kernel[task.group, d].numpy(),
            d_readout[task.group, d].numpy(),
        )

    run_in_threads([partial(piece, task) for task in plan])
    add_directions(context, plan, d_maps, d_context)
    d_kernel = by_gate(sum_groups(d_kernel)[:, : kernel.shape[2]].transpose(1, 2), 1)
    return (
        d_context.permute(0, 3, 1, 2),
        by_gate(d_bias, 2),
        d_kernel[:, :, :channels].contiguous(),
        d_kernel[:, :, channels:].contiguous(),
        sum_groups(d_readout),
    )


register_gradients(operator, gradients)


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    return call(operator, context, bias, kernel_x, kernel_h, readout)
