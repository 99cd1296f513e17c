"""The diagonal LSTM over active cells only: both directions in one product per diagonal, the backward pass by hand.

The N = m · n cells of the map are laid out diagonal by diagonal, so that the cells of a step are one slice, and so are
their neighbours above and to the left, in the slice before. The mirrored map of the right direction has the same
geometry. Arrays are (2, features, N, B): direction, then features, so that arithmetic runs along memory.
Same signature and values as `reference.diagonal_lstm`.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Diagonal(NamedTuple):
    """One step, as slices of the packed order: its cells; those with a cell above, and that cell; likewise left."""

    cells: slice
    has_above: slice
    above: slice
    has_left: slice
    left: slice


class Geometry(NamedTuple):
    """How a map is packed. Place N stands for "nothing there", a zero."""

    diagonals: tuple[Diagonal, ...]
    pack: Tensor  # i8 (2, N): cell of the map at each packed place
    unpack: Tensor  # i8 (2, N): packed place that each output cell shows; the right direction is shifted down by a row
    shown: Tensor  # i8 (2, N): output cell that shows each packed place


@lru_cache(maxsize=64)
def geometry(m: int, n: int, device: torch.device) -> Geometry:
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
    """See `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    return _Packed.apply(context, bias, kernel_x, kernel_h)


class _Packed(torch.autograd.Function):
    """`inputs` (2, C + 2t, N, B) holds, for each cell, its context, the state above and the state to the left: what one
    product with [K^x, K^h] turns into gates, and what the gradient of both kernels is made of at the end."""

    @staticmethod
    def forward(ctx: Any, context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
        batch, channels, m, n = context.shape
        t, total = kernel_h.shape[1] // 4, m * n
        shape = geometry(m, n, context.device)
        kernel = torch.cat([kernel_x, kernel_h], dim=2)
        inputs = context.new_zeros(2, channels + 2 * t, total, batch)
        _pack(context, shape, inputs[:, :channels])
        above, left = inputs[:, channels:].split(t, dim=1)
        gates = bias.transpose(1, 2).unsqueeze(2).repeat(1, 1, total, 1)
        o, f, i, g = gates.split(t, dim=1)
        h = context.new_zeros(2, t, total + 1, batch)  # the last place stays zero
        c, tanh_c = context.new_empty(2, 2, t, total, batch)
        for step in shape.diagonals:
            at = step.cells
            above[:, :, step.has_above] = h[:, :, step.above]
            left[:, :, step.has_left] = h[:, :, step.left]
            for d in range(2):  # one product of both would copy its operands
                gates[d, :, at].flatten(1).addmm_(kernel[d], inputs[d, :, at].flatten(1))
            gates[:, : 3 * t, at].sigmoid_()
            g[:, :, at].tanh_()
            torch.mul(i[:, :, at], g[:, :, at], out=c[:, :, at])
            c[:, :, step.has_left].addcmul_(f[:, :, step.has_left], c[:, :, step.left])
            torch.tanh(c[:, :, at], out=tanh_c[:, :, at])
            torch.mul(o[:, :, at], tanh_c[:, :, at], out=h[:, :, at])
        ctx.save_for_backward(kernel, inputs, gates, c, tanh_c)
        ctx.map = m, n
        return _unpack(h, shape.unpack, m, n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kernel, inputs, gates, c, tanh_c = ctx.saved_tensors
        (m, n), (_, t, total, batch) = ctx.map, c.shape
        channels = kernel.shape[2] - 2 * t
        shape = geometry(m, n, c.device)
        to_inputs = kernel.transpose(1, 2)
        o, f, i, g = gates.split(t, dim=1)
        d_gates = torch.empty_like(gates)
        d_o, d_f, d_i, d_g = d_gates.split(t, dim=1)
        d_h = _pack_output(grad, shape)
        d_c = torch.zeros_like(c)
        d_seen = c.new_empty(2, 2 * t, min(m, n), batch)
        for step in reversed(shape.diagonals):
            at, has_left, left = step.cells, step.has_left, step.left
            dh, dc = d_h[:, :, at], d_c[:, :, at]
            _sigmoid_backward(dh * tanh_c[:, :, at], o[:, :, at], grad_input=d_o[:, :, at])
            dc += torch.ops.aten.tanh_backward(dh * o[:, :, at], tanh_c[:, :, at])
            _sigmoid_backward(dc * g[:, :, at], i[:, :, at], grad_input=d_i[:, :, at])
            _tanh_backward(dc * i[:, :, at], g[:, :, at], grad_input=d_g[:, :, at])
            d_f[:, :, has_left.stop : at.stop] = 0
            with_left = d_c[:, :, has_left]
            _sigmoid_backward(with_left * c[:, :, left], f[:, :, has_left], grad_input=d_f[:, :, has_left])
            torch.mul(with_left, f[:, :, has_left], out=d_c[:, :, left])  # a cell is left of one other at most
            size = at.stop - at.start
            seen = d_seen[:, :, :size]
            for d in range(2):
                torch.mm(to_inputs[d, channels:], d_gates[d, :, at].flatten(1), out=seen[d].flatten(1))
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


def _pack(context: Tensor, shape: Geometry, out: Tensor) -> None:
    """(B, C, m, n) → `out` (2, C, N, B), each direction in its packed order."""
    cells = context.permute(1, 2, 3, 0).flatten(1, 2)
    for direction, places in zip(out, shape.pack, strict=True):
        torch.index_select(cells, 1, places, out=direction)


def _unpack(packed: Tensor, places: Tensor, m: int, n: int) -> Tensor:
    """(2, t, N + 1, B) → (2, B, t, m, n), a view of (2, t, m, n, B)."""
    cells = torch.stack([packed[d].index_select(1, places[d]) for d in range(2)])
    return cells.unflatten(2, (m, n)).permute(0, 4, 1, 2, 3)


def _pack_output(maps: Tensor, shape: Geometry) -> Tensor:
    """(2, B, t, m, n) → (2, t, N, B): the value of the output cell that shows each place, zero where none does."""
    cells = torch.nn.functional.pad(maps.permute(0, 2, 3, 4, 1).flatten(2, 3), (0, 0, 0, 1))
    return torch.stack([cells[d].index_select(1, shape.shown[d]) for d in range(2)])
