"""The diagonal LSTM over active cells only: both directions in one product per diagonal, the backward pass by hand.

The cells of the m × n map are laid out diagonal by diagonal, so that the k active cells of a step are one slice, and the
mirrored map of the right direction has the same geometry. Shapes: N = m · n cells, B batch, t state width, C context
channels; leading axis 2 is the direction. Same signature and values as `reference.diagonal_lstm`.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Diagonal(NamedTuple):
    """One step: the rows `top` … `top` + `size` − 1, at `start` in the packed order; `old` of them have a left cell,
    the first of which stands at `before` in the packed order (its neighbours follow)."""

    start: int
    size: int
    top: int
    old: int
    before: int


class Geometry(NamedTuple):
    """How a map is packed. Index N stands for "nothing there", a row of zeros."""

    diagonals: tuple[Diagonal, ...]
    pack: Tensor  # i8 (2, N): cell at each packed place
    unpack: Tensor  # i8 (2, N): packed place of each output cell; the right direction shifted down by one row
    left: Tensor  # i8 (N,): packed place of the left neighbour
    above: Tensor  # i8 (N,)
    shifted: Tensor  # i8 (2, N): output cell in which each packed place is seen


@lru_cache(maxsize=64)
def geometry(m: int, n: int, device: torch.device) -> Geometry:
    total = m * n
    place = torch.full((m + 1, n + 1), total)  # the last row and column stand for −1
    diagonals, cells, start = [], [], 0
    for d in range(m + n - 1):
        top, bottom = max(0, d - n + 1), min(m - 1, d)
        rows = torch.arange(top, bottom + 1)
        place[rows, d - rows] = start + rows - top
        cells.append(torch.stack([rows, d - rows]))
        old = min(bottom, d - 1) - top + 1
        before = int(place[top, d - top - 1]) if old else 0
        diagonals.append(Diagonal(start, len(rows), top, old, before))
        start += len(rows)
    i, j = torch.cat(cells, dim=1)
    i_all, j_all = torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij")
    down = torch.where(i + 1 < m, (i + 1) * n + n - 1 - j, total)
    parts = (
        torch.stack([i * n + j, i * n + n - 1 - j]),
        torch.stack([place[i_all, j_all].flatten(), place[i_all - 1, n - 1 - j_all].flatten()]),
        place[i, j - 1],
        place[i - 1, j],
        torch.stack([i * n + j, down]),
    )
    return Geometry(tuple(diagonals), *(p.to(device) for p in parts))


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
    """See `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    return _Packed.apply(context, bias, kernel_x, kernel_h)


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
        batch, _, m, n = context.shape
        t = kernel_h.shape[1] // 4
        shape = geometry(m, n, context.device)
        x = _pack(context, shape)
        gates = torch.bmm(x.flatten(1, 2), kernel_x.transpose(1, 2)).view(2, m * n, batch, 4 * t)
        gates += bias.unsqueeze(1)
        from_above, from_left = kernel_h.transpose(1, 2).split(t, dim=1)  # (2, t, 4t) each
        h = context.new_zeros(2, m * n + 1, batch, t)  # the last place stays zero
        c = torch.empty_like(h)
        row_h = context.new_zeros(2, m + 1, batch, t)  # the latest state of row r stands at r + 1
        row_c = context.new_zeros(2, m, batch, t)
        for step in shape.diagonals:
            at, rows = slice(step.start, step.start + step.size), slice(step.top, step.top + step.size)
            a = gates[:, at].flatten(1, 2)
            a.baddbmm_(row_h[:, rows].flatten(1, 2), from_above)
            a.baddbmm_(row_h[:, step.top + 1 : step.top + 1 + step.size].flatten(1, 2), from_left)
            o, f, i, g = _activate(gates[:, at], t)
            new_c = row_c[:, rows]
            new_c.mul_(f).addcmul_(i, g)
            new_h = o * new_c.tanh()
            c[:, at], h[:, at] = new_c, new_h
            row_h[:, step.top + 1 : step.top + 1 + step.size] = new_h
        ctx.save_for_backward(context, kernel_x, kernel_h, gates, c, h)
        return _unpack(h, shape.unpack, m, n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]
        context, kernel_x, kernel_h, gates, c, h = ctx.saved_tensors
        batch, channels, m, n = context.shape
        t, total = kernel_h.shape[1] // 4, m * n
        shape = geometry(m, n, context.device)
        grad_h = _gather_cells(grad, shape.shifted)
        to_above, to_left = kernel_h.split(t, dim=2)  # (2, 4t, t) each
        row_h = context.new_zeros(2, m + 1, batch, t)
        row_c = context.new_zeros(2, m, batch, t)
        grad_gates = torch.empty_like(gates)
        for step in reversed(shape.diagonals):
            at, rows = slice(step.start, step.start + step.size), slice(step.top, step.top + step.size)
            below = slice(step.top + 1, step.top + 1 + step.size)
            o, f, i, g = gates[:, at].split(t, dim=-1)
            d_o, d_f, d_i, d_g = grad_gates[:, at].split(t, dim=-1)
            dh = grad_h[:, at].add_(row_h[:, below])
            tanh_c = c[:, at].tanh()
            dc = row_c[:, rows]
            dc.addcmul_(dh, o * (1 - tanh_c * tanh_c))
            torch.mul(dh * tanh_c, o * (1 - o), out=d_o)
            torch.mul(dc * g, i * (1 - i), out=d_i)
            torch.mul(dc * i, 1 - g * g, out=d_g)
            d_f.zero_()
            if step.old:
                some = slice(0, step.old)
                before = c[:, step.before : step.before + step.old]
                torch.mul(dc[:, some] * before, (f * (1 - f))[:, some], out=d_f[:, some])
            dc.mul_(f)
            a = grad_gates[:, at].flatten(1, 2)
            row_h[:, below] = torch.bmm(a, to_left).view_as(dh)
            row_h[:, rows] += torch.bmm(a, to_above).view_as(dh)
        flat = grad_gates.flatten(1, 2)
        x = _pack(context, shape).flatten(1, 2)
        d_kernel_x = torch.bmm(flat.transpose(1, 2), x)
        seen = torch.cat([h[:, shape.above], h[:, shape.left]], dim=-1).flatten(1, 2)
        d_kernel_h = torch.bmm(flat.transpose(1, 2), seen)
        d_x = torch.bmm(flat, kernel_x).view(2, total, batch, channels)
        d_context = context.new_zeros(total, batch, channels)
        for direction in range(2):
            d_context.index_add_(0, shape.pack[direction], d_x[direction])
        d_context = d_context.permute(1, 2, 0).reshape(batch, channels, m, n)
        return d_context, grad_gates.sum(1), d_kernel_x, d_kernel_h


def _activate(gates: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """σ for o, f, i and tanh for g, in place: (…, 4t) → four of (…, t)."""
    gates[..., : 3 * t].sigmoid_()
    gates[..., 3 * t :].tanh_()
    o, f, i, g = gates.split(t, dim=-1)
    return o, f, i, g


def _pack(context: Tensor, shape: Geometry) -> Tensor:
    """(B, C, m, n) → (2, N, B, C), each direction in its packed order."""
    cells = context.permute(2, 3, 0, 1).flatten(0, 1)
    return cells.index_select(0, shape.pack.flatten()).view(2, *cells.shape)


def _unpack(packed: Tensor, places: Tensor, m: int, n: int) -> Tensor:
    """(2, N + 1, B, t) → (2, B, t, m, n)."""
    cells = torch.stack([packed[d].index_select(0, places[d]) for d in range(2)])
    return cells.permute(0, 2, 3, 1).unflatten(3, (m, n)).contiguous()


def _gather_cells(maps: Tensor, cells: Tensor) -> Tensor:
    """(2, B, t, m, n) → (2, N, B, t): the value at each packed place's output cell, zero where it has none."""
    flat = maps.flatten(3).permute(0, 3, 1, 2)
    flat = torch.cat([flat, flat.new_zeros(2, 1, *flat.shape[2:])], dim=1)
    return torch.stack([flat[d].index_select(0, cells[d]) for d in range(2)])
