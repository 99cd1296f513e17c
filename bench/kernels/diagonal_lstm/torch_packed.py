"""The diagonal LSTM over active cells only: one product per diagonal for both directions, with a manual backward pass.

The N = m · n cells of the map are stored diagonal by diagonal. The cells of a step are then one slice, and so are their
neighbours above and to the left, in the previous slice. The mirrored map of the right direction has the same geometry.
Arrays are (2, features, N, B), with features before cells, so that arithmetic runs along memory. Signature and values
are those of `reference.diagonal_lstm`.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.kernels.buffer_pool import POOL
from bench.kernels.diagonal_lstm.first_order import mark_differentiable_once

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Diagonal(NamedTuple):
    """Slices of the packed order for one step: its cells; those with a cell above, and that cell; the same for left."""

    cells: slice
    has_above: slice
    above: slice
    has_left: slice
    left: slice


class Geometry(NamedTuple):
    """The packed layout of a map. Index N stands for a missing neighbour, which is zero."""

    diagonals: tuple[Diagonal, ...]
    pack: Tensor  # i8 (2, N): cell of the map at each packed index
    unpack: Tensor  # i8 (2, N): packed index of each output cell; the right direction is shifted down by a row
    shown: Tensor  # i8 (2, N): output cell of each packed index

    def over(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Return the cells of each diagonal of `packed` (2, features, N, B), as views."""
        return torch.split(packed, [step.cells.stop - step.cells.start for step in self.diagonals], dim=2)


@lru_cache(maxsize=64)
def geometry(m: int, n: int, device: torch.device) -> Geometry:
    """Return the packed layout of an m × n map."""
    total = m * n
    place = torch.full((m + 1, n), total)  # the last row stands for row −1
    diagonals, cells, start, before = [], [], 0, slice(0, 0)
    for d in range(m + n - 1):
        top, bottom = max(0, d - n + 1), min(m - 1, d)
        rows = torch.arange(top, bottom + 1)
        here = slice(start, start + len(rows))
        place[rows, d - rows] = torch.arange(here.start, here.stop)
        cells.append(torch.stack([rows, d - rows]))
        # In the slice before, the rows begin at `top` (or, once diagonals have left the first row, at `top` − 1).
        first_above, first_left = here.start + (top == 0), before.start + (top > 0)
        lefts = min(bottom, d - 1) - top + 1
        diagonals.append(
            Diagonal(
                here,
                slice(first_above, here.stop),
                slice(before.start, before.start + here.stop - first_above),
                slice(here.start, here.start + lefts),
                slice(first_left, first_left + lefts),
            )
        )
        start, before = here.stop, here
    i, j = torch.cat(cells, dim=1)
    rows, columns = (a.flatten() for a in torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij"))
    below = torch.where(i + 1 < m, (i + 1) * n + n - 1 - j, total)
    pack = torch.stack([i * n + j, i * n + n - 1 - j])
    unpack = torch.stack([place[rows, columns], place[rows - 1, n - 1 - columns]])
    shown = torch.stack([i * n + j, below])
    return Geometry(tuple(diagonals), pack.to(device), unpack.to(device), shown.to(device))


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    states: Tensor = _Packed.apply(context, bias, kernel_x, kernel_h)
    return states


class _Packed(torch.autograd.Function):
    """Autograd function of the packed diagonal LSTM.

    `inputs` (2, C + 2t, N, B) holds, for each cell, its context, the state above and the state to the left. One product
    with [K^x, K^h] gives the gates, and at the end the gradient of both kernels is computed from it.
    """

    @staticmethod
    def forward(ctx: Any, context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
        """Return the states (2, B, t, m, n)."""
        batch, channels, m, n = context.shape
        t, total = kernel_h.shape[1] // 4, m * n
        shape = geometry(m, n, context.device)
        kernel = torch.cat([kernel_x, kernel_h], dim=2)
        inputs = _take_buffer(context, 2, channels + 2 * t, total, batch)
        inputs[:, channels:] = 0
        _pack(context, shape, inputs[:, :channels])
        above, left = inputs[:, channels:].split(t, dim=1)
        gates = _take_buffer(context, 2, 4 * t, total, batch).copy_(bias.transpose(1, 2).unsqueeze(2))
        h = _take_buffer(context, 2, t, total + 1, batch)
        h[:, :, total] = 0
        c, tanh_c = _take_buffer(context, 2, 2, t, total, batch)
        f = gates[:, t : 2 * t]
        over = shape.over
        for step, x, gate, c_here, tanh_here, h_here in zip(
            shape.diagonals, over(inputs), over(gates), over(c), over(tanh_c), over(h[:, :, :total]), strict=True
        ):
            above[:, :, step.has_above] = h[:, :, step.above]
            left[:, :, step.has_left] = h[:, :, step.left]
            for d in range(2):  # one product of both would copy its operands
                gate[d].flatten(1).addmm_(kernel[d], x[d].flatten(1))
            gate[:, : 3 * t].sigmoid_()
            o, _, i, g = gate.split(t, dim=1)
            g.tanh_()
            torch.mul(i, g, out=c_here)
            c[:, :, step.has_left].addcmul_(f[:, :, step.has_left], c[:, :, step.left])
            torch.tanh(c_here, out=tanh_here)
            torch.mul(o, tanh_here, out=h_here)
        ctx.save_for_backward(kernel, inputs, gates, c, tanh_c)
        ctx.map = m, n
        return _unpack(h, shape.unpack, m, n)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients, which cannot be differentiated again."""
        with torch.no_grad():
            found = _Packed.gradients(ctx, grad)
        return mark_differentiable_once(found)

    @staticmethod
    def gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of context, bias and both kernels."""
        kernel, inputs, gates, c, tanh_c = ctx.saved_tensors
        (m, n), (_, t, total, batch) = ctx.map, c.shape
        channels = kernel.shape[2] - 2 * t
        shape = geometry(m, n, c.device)
        to_inputs = kernel.transpose(1, 2)
        d_gates = _take_buffer(gates, *gates.shape)
        f, d_f = gates[:, t : 2 * t], d_gates[:, t : 2 * t]
        d_h = _pack_output(grad, shape)
        d_c = _take_buffer(c, *c.shape).zero_()
        d_seen = _take_buffer(c, 2, 2 * t, min(m, n), batch)
        by_step = zip(shape.diagonals, *map(shape.over, (gates, d_gates, tanh_c, d_h, d_c)), strict=True)
        for step, gate, d_gate, tanh_here, dh, dc in reversed(list(by_step)):
            at, has_left, left = step.cells, step.has_left, step.left
            (o, _, i, g), (d_o, _, d_i, d_g) = gate.split(t, dim=1), d_gate.split(t, dim=1)
            _sigmoid_backward(dh * tanh_here, o, grad_input=d_o)
            dc += torch.ops.aten.tanh_backward(dh * o, tanh_here)
            _sigmoid_backward(dc * g, i, grad_input=d_i)
            _tanh_backward(dc * i, g, grad_input=d_g)
            d_f[:, :, has_left.stop : at.stop] = 0
            with_left = d_c[:, :, has_left]
            _sigmoid_backward(with_left * c[:, :, left], f[:, :, has_left], grad_input=d_f[:, :, has_left])
            torch.mul(with_left, f[:, :, has_left], out=d_c[:, :, left])  # a cell has at most one cell to its right
            seen = d_seen[:, :, : at.stop - at.start]
            for d in range(2):
                torch.mm(to_inputs[d, channels:], d_gate[d].flatten(1), out=seen[d].flatten(1))
            d_h[:, :, step.above] += seen[:, :t, step.has_above.start - at.start :]
            d_h[:, :, left] += seen[:, t:, : has_left.stop - at.start]
        flat = d_gates.flatten(2)
        d_kernel = torch.bmm(flat, inputs.flatten(2).transpose(1, 2))
        d_x = torch.bmm(to_inputs[:, :channels], flat).view(2, channels, total, batch)
        d_cells = d_x.new_zeros(channels, total, batch)
        for direction in range(2):
            d_cells.index_add_(1, shape.pack[direction], d_x[direction])
        d_context = d_cells.permute(2, 0, 1).unflatten(2, (m, n))
        return d_context, d_gates.sum(2).transpose(1, 2), d_kernel[:, :, :channels], d_kernel[:, :, channels:]


def _take_buffer(like: Tensor, *shape: int) -> Tensor:
    """Return uninitialised numbers of the dtype and on the device of `like`; on a CPU, in reused memory."""
    if like.device.type != "cpu":
        return like.new_empty(shape)
    room = POOL.take(math.prod(shape) * like.element_size(), np.uint8)
    return like.new_empty(0).set_(torch.from_numpy(room).untyped_storage()).view(shape)


def _pack(context: Tensor, shape: Geometry, out: Tensor) -> None:
    """Write (B, C, m, n) to `out` (2, C, N, B), each direction in its packed order."""
    cells = context.permute(1, 2, 3, 0).flatten(1, 2)
    for direction, places in zip(out, shape.pack, strict=True):
        torch.index_select(cells, 1, places, out=direction)


def _unpack(packed: Tensor, places: Tensor, m: int, n: int) -> Tensor:
    """Return (2, t, N + 1, B) as (2, B, t, m, n), a view of (2, t, m, n, B)."""
    cells = torch.stack([packed[d].index_select(1, places[d]) for d in range(2)])
    return torch.unflatten(cells, 2, (m, n)).permute(0, 4, 1, 2, 3)


def _pack_output(maps: Tensor, shape: Geometry) -> Tensor:
    """Return (2, B, t, m, n) as (2, t, N, B): the gradient of the output that uses each cell, zero if none does."""
    cells = torch.nn.functional.pad(maps.permute(0, 2, 3, 4, 1).flatten(2, 3), (0, 0, 0, 1))
    return torch.stack([cells[d].index_select(1, shape.shown[d]) for d in range(2)])
