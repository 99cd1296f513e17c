"""The diagonal LSTM in bf16 by AMX, as a PyTorch operator: as `numba_op`, see `amx_forward` for what is in bf16."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.kernels.arrays import array, flat
from bench.kernels.buffer_pool import POOL
from bench.kernels.diagonal_lstm import amx_backward, amx_forward, numba_layout
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
from bench.kernels.diagonal_lstm.numba_gemm import KEPT, padded
from bench.kernels.numba_tiles import LAYOUT, ROWS, require_tiles
from bench.kernels.thread_pool import run_in_threads


def tasks(context: Tensor, t: int) -> list[GroupTask]:
    """Return the tasks: groups of 32 images, and of 16 for the rest if it is not more."""
    batch, channels, m, n = context.shape
    made, start = [], 0
    for group, first in enumerate(range(0, batch, 2 * ROWS)):
        lanes, cells = min(2 * ROWS, padded(batch - first, ROWS)), m * n * channels
        for direction in range(2):
            size = (m - direction) * n * t * KEPT * lanes
            kept, place = slice(start, start + size), slice(first * cells, (first + lanes) * cells)
            made.append(GroupTask(direction, group, first, lanes, min(lanes, batch - first), kept, place))
            start += size
    return made


def _maps_of_groups(context: Tensor, plan: list[GroupTask], out: np.ndarray) -> None:
    """Write the maps of all groups in pairs to `out`. A pair is copied as one number in fp32."""
    _, channels, m, n = context.shape
    pairs, words = flat(context.permute(0, 2, 3, 1)).view(np.float32), out.view(np.float32)

    def copy(task: GroupTask) -> None:
        place = words[task.map.start // 2 : task.map.stop // 2]
        numba_layout.to_lanes(pairs, task.first, task.used, task.lanes, m * n, channels // 2, place)

    run_in_threads([partial(copy, task) for task in plan if not task.direction])


@torch.library.custom_op("bench::diagonal_lstm_amx", mutates_args=(), device_types="cpu")
def operator(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    """Return readout · h (2, B, p, m, n) in fp32, and if `keep`, the values that the backward pass needs.

    Context, kernels and readout are in bf16, the bias in fp32.
    """
    require_tiles()
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    plan = tasks(context, t)
    weights = [flat(kernel) for kernel in by_unit(torch.cat([kernel_x, kernel_h], 2), 1)]
    shown, biases = interleave_four_rows(readout.float()), array(by_unit(bias, 2))
    out = bias.new_empty(2, batch, p, m, n)
    kept = POOL.take(saved_size(context, t, ROWS) if keep else 0, np.uint16)
    x = kept[-map_size(context, ROWS) :] if keep else POOL.take(map_size(context, ROWS), np.uint16)
    _maps_of_groups(context, plan, x)

    def piece(task: GroupTask) -> None:
        d, answers = task.direction, POOL.take(p * m * n * task.lanes, np.float32)
        amx_forward.forward(
            (0,) * task.lanes,
            (m, n, channels),
            task.used,
            x[task.map],
            biases[d],
            weights[d],
            shown[d],
            task.first,
            bool(d),
            LAYOUT,
            POOL.take(amx_forward.workspace_size(task.lanes, t), np.float32),
            POOL.take(n * t * task.lanes, np.uint16),
            kept[task.kept],
            answers,
        )
        numba_layout.from_lanes(answers, task.first, task.used, task.lanes, p * m * n, flat(out[d]))

    run_in_threads([partial(piece, task) for task in plan])
    return out, torch.from_numpy(kept).view(torch.bfloat16)


@operator.register_fake
def _(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, keep: bool
) -> tuple[Tensor, Tensor]:
    (batch, _, m, n), (_, p, t) = context.shape, readout.shape
    return bias.new_empty(2, batch, p, m, n), context.new_empty(saved_size(context, t, ROWS) if keep else 0)


@torch.library.custom_op("bench::diagonal_lstm_amx_backward", mutates_args=(), device_types="cpu")
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
    require_tiles()
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    saved, given, size = flat(kept), [flat(of_states) for of_states in grad], channels + 2 * t
    x = saved[-map_size(context, ROWS) :]
    weights = [flat(kernel.t()) for kernel in by_unit(torch.cat([kernel_x, kernel_h], 2), 1)]
    shown, plan = interleave_four_rows(readout.float().transpose(1, 2)), tasks(context, t)
    count = len(plan) // 2
    d_maps = POOL.take(2 * x.size, np.float32).reshape(2, -1)
    d_context = grad.new_empty(batch, m, n, channels)
    d_bias = grad.new_empty(2, batch, 4 * t)
    d_kernel = grad.new_empty(count, 2, 4 * t, size)
    d_readout = grad.new_empty(count, 2, p if with_readout else 0, t)

    def piece(task: GroupTask) -> None:
        d, halves = task.direction, POOL.take(amx_backward.halves_size(task.lanes, channels, t), np.uint16)
        d_answers = POOL.take(p * m * n * task.lanes, np.float32)
        numba_layout.to_lanes(given[d], task.first, task.used, task.lanes, 1, p * m * n, d_answers)
        amx_backward.backward(
            (0,) * task.lanes,
            (m, n, channels),
            task.used,
            x[task.map],
            weights[d],
            shown[d],
            d_answers,
            task.first,
            bool(d),
            LAYOUT,
            saved[task.kept],
            POOL.take(amx_backward.workspace_size(task.lanes, n, channels, t, p), np.float32),
            halves,
            halves.view(np.float32),
            d_maps[d][task.map],
            d_bias[d].numpy(),
            d_kernel[task.group, d].view(-1).numpy(),
            d_readout[task.group, d].numpy(),
        )

    run_in_threads([partial(piece, task) for task in plan])
    add_directions(context, plan, d_maps, d_context)
    d_kernel = by_gate(sum_groups(d_kernel), 1).to(kernel_x.dtype)
    return (
        d_context.permute(0, 3, 1, 2).to(context.dtype),
        by_gate(d_bias, 2),
        d_kernel[:, :, :channels].contiguous(),
        d_kernel[:, :, channels:].contiguous(),
        sum_groups(d_readout).to(readout.dtype),
    )


register_gradients(operator, gradients)


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    return call(operator, context, bias, kernel_x, kernel_h, readout)
