"""The diagonal LSTM of one direction over a group of images, compiled: cell after cell in raster order.

On a CPU diagonals gain nothing: the images of a group lie side by side in vectors, so each cell is a product of the
weights, which stay in the cache, with [x, h above, h left] of a few images. What is a column of vectors here is called
(features, L), L the images of a group. Units run 0 … t − 1, gates within a unit o, f, i, g; S = C + 2t inputs.

The right direction is the left one on the mirrored map, by addressing; its last row is not run, as none shows it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.kernels.vectors import fma, load, sigmoid, splat, store, tanh, total
from mnistref.compiled import compiler

HERE = Path(__file__).parent
compiled = compiler(HERE, Path(__file__), HERE.parent / "vectors.py")

KEPT = 6
"""Vectors kept of each unit and cell for the backward pass: o, f, i, g, c, h."""

BLOCK = 12
"""Inputs are padded to a multiple of this for the gradient of the weights, which goes by blocks of so many."""

PENDING = 400
"""Columns (cells · L) of gradients that wait for their product: with both factors about half of a level-2 cache."""

EIGHT = (0,) * 8


def padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


@compiled
def _ceil(count: int, multiple: int) -> int:
    return (count + multiple - 1) // multiple * multiple


@compiled(forceinline=True)
def _product(width: Any, weights: Any, start: int, inputs: Any, count: int, out: Any, at: int) -> None:
    """Four rows of out (…, L) = weights (count, 4)ᵀ · inputs (count, L)."""
    lanes = len(width)
    a = b = c = d = splat(width, weights.dtype.type(0))
    for k in range(count):
        x = load(width, inputs, k * lanes)
        a = fma(weights[start + 4 * k], x, a)
        b = fma(weights[start + 4 * k + 1], x, b)
        c = fma(weights[start + 4 * k + 2], x, c)
        d = fma(weights[start + 4 * k + 3], x, d)
    store(out, at, a)
    store(out, at + lanes, b)
    store(out, at + 2 * lanes, c)
    store(out, at + 3 * lanes, d)


@compiled(forceinline=True)
def _copy(width: Any, source: Any, start: int, out: Any, at: int, count: int) -> None:
    for k in range(0, count * len(width), len(width)):
        store(out, at + k, load(width, source, start + k))


@compiled
def forward(
    width: Any,
    x: np.ndarray,
    bias: np.ndarray,
    weights: np.ndarray,
    readout: np.ndarray,
    first: int,
    mirrored: bool,
    room: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Images `first` … of one direction.

    Args:
        width: (0,) · L.
        x: (B, m, n, C).
        bias: (B, 4t), unit by unit.
        weights: t · S · 4, unit by unit.
        readout: p/4 · t · 4, its p rows padded with zeros to a multiple of four.
        room: `forward_room` numbers to work in.
        kept: of length 0, or cells · t · KEPT · L numbers for the backward pass.
        out: (B, p, m, n).
    """
    lanes, (batch, m, n, channels) = len(width), x.shape
    t, rows = bias.shape[1] // 4, m - mirrored
    seen, wide, shown = channels + 2 * t, t * lanes, out.shape[1]
    used = min(lanes, batch - first)
    inputs, room = room[: seen * lanes], room[seen * lanes :]
    start, room = room[: 4 * wide], room[4 * wide :]
    c, room = room[:wide], room[wide:]
    row, answer = room[: n * wide], room[n * wide :]
    inputs[:], start[:], row[:] = 0, 0, 0
    for b in range(used):
        for g in range(4 * t):
            start[g * lanes + b] = bias[first + b, g]
    if mirrored:
        out[first : first + used, :, 0] = 0
    for i in range(rows):
        for j in range(n):
            column = n - 1 - j if mirrored else j
            for b in range(used):
                for k in range(channels):
                    inputs[k * lanes + b] = x[first + b, i, column, k]
            _copy(width, row, j * wide, inputs, channels * lanes, t)
            if j:
                _copy(width, row, (j - 1) * wide, inputs, (channels + t) * lanes, t)
            else:
                inputs[(channels + t) * lanes :] = 0
                c[:] = 0
            here = (i * n + j) * wide * KEPT
            for u in range(t):
                o = load(width, start, 4 * u * lanes)
                f = load(width, start, (4 * u + 1) * lanes)
                a = load(width, start, (4 * u + 2) * lanes)
                g = load(width, start, (4 * u + 3) * lanes)
                for k in range(seen):
                    value, at = load(width, inputs, k * lanes), 4 * (u * seen + k)
                    o = fma(weights[at], value, o)
                    f = fma(weights[at + 1], value, f)
                    a = fma(weights[at + 2], value, a)
                    g = fma(weights[at + 3], value, g)
                o, f, a, g = sigmoid(o), sigmoid(f), sigmoid(a), tanh(g)
                memory = fma(f, load(width, c, u * lanes), a * g)
                h = o * tanh(memory)
                store(c, u * lanes, memory)
                store(row, j * wide + u * lanes, h)
                if len(kept):
                    at = here + u * KEPT * lanes
                    store(kept, at, o)
                    store(kept, at + lanes, f)
                    store(kept, at + 2 * lanes, a)
                    store(kept, at + 3 * lanes, g)
                    store(kept, at + 4 * lanes, memory)
                    store(kept, at + 5 * lanes, h)
            for q in range(0, shown, 4):
                _product(width, readout, q * t, row[j * wide :], t, answer, 0)
                for k in range(min(4, shown - q)):
                    for b in range(used):
                        out[first + b, q + k, i + mirrored, column] = answer[k * lanes + b]


def forward_room(lanes: int, n: int, channels: int, t: int) -> int:
    return lanes * (channels + 2 * t + 4 * t + t + n * t + 4)


@compiled
def _weight_gradients(rows: np.ndarray, columns: np.ndarray, count: int, out: np.ndarray) -> None:
    """out (R, S) += rows (R, PENDING) · columns (S, PENDING)ᵀ over the first `count`; R in fours, S in BLOCKs."""
    size = columns.shape[0]
    for block in range(0, size, BLOCK):
        for r in range(0, rows.shape[0], 4):
            for s in range(block, block + BLOCK, 3):
                r0, r1, r2, r3 = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
                s0, s1, s2 = columns[s], columns[s + 1], columns[s + 2]
                a0 = a1 = a2 = b0 = b1 = b2 = splat(EIGHT, rows.dtype.type(0))
                c0 = c1 = c2 = d0 = d1 = d2 = a0
                for k in range(0, count, 8):
                    x, y, z = load(EIGHT, s0, k), load(EIGHT, s1, k), load(EIGHT, s2, k)
                    w = load(EIGHT, r0, k)
                    a0, a1, a2 = fma(w, x, a0), fma(w, y, a1), fma(w, z, a2)
                    w = load(EIGHT, r1, k)
                    b0, b1, b2 = fma(w, x, b0), fma(w, y, b1), fma(w, z, b2)
                    w = load(EIGHT, r2, k)
                    c0, c1, c2 = fma(w, x, c0), fma(w, y, c1), fma(w, z, c2)
                    w = load(EIGHT, r3, k)
                    d0, d1, d2 = fma(w, x, d0), fma(w, y, d1), fma(w, z, d2)
                out[r, s] += total(a0)
                out[r, s + 1] += total(a1)
                out[r, s + 2] += total(a2)
                out[r + 1, s] += total(b0)
                out[r + 1, s + 1] += total(b1)
                out[r + 1, s + 2] += total(b2)
                out[r + 2, s] += total(c0)
                out[r + 2, s + 1] += total(c1)
                out[r + 2, s + 2] += total(c2)
                out[r + 3, s] += total(d0)
                out[r + 3, s + 1] += total(d1)
                out[r + 3, s + 2] += total(d2)


@compiled
def backward(
    width: Any,
    x: np.ndarray,
    weights: np.ndarray,
    readout: np.ndarray,
    grad: np.ndarray,
    first: int,
    mirrored: bool,
    kept: np.ndarray,
    room: np.ndarray,
    d_x: np.ndarray,
    d_bias: np.ndarray,
    d_weights: np.ndarray,
    d_readout: np.ndarray,
) -> None:
    """Gradients of `forward`, from grad (B, p, m, n).

    Args:
        weights: S′/4 · 4t · 4, the transposed weights of four inputs at a time; S′ is S padded to BLOCKs.
        readout: t′/4 · p · 4, four units at a time; t′ is t padded to fours.
        room: `backward_room` numbers to work in.
        d_x: (B, m, n, C), written.
        d_bias: (B, 4t), written.
        d_weights: (4t, S′), this group's, written; unit by unit.
        d_readout: (p, t), this group's, written; or (0, t), if it is not wanted.
    """
    lanes, (batch, m, n, channels) = len(width), x.shape
    t, shown, learnt = d_bias.shape[1] // 4, grad.shape[1], d_readout.shape[0]
    seen, wide, size, tall = channels + 2 * t, t * lanes, d_weights.shape[1], _ceil(t, 4)
    used, pending = min(lanes, batch - first), PENDING // lanes * lanes
    gates, room = room[: 4 * wide], room[4 * wide :]
    sums, room = room[: 4 * wide], room[4 * wide :]
    d_inputs, room = room[: size * lanes], room[size * lanes :]
    d_h, room = room[: tall * lanes], room[tall * lanes :]
    d_c, room = room[:wide], room[wide:]
    d_row, room = room[: n * wide], room[n * wide :]
    d_answer, room = room[: shown * lanes], room[shown * lanes :]
    readouts, room = room[: shown * wide], room[shown * wide :]
    columns, room = room[: size * PENDING].reshape(size, PENDING), room[size * PENDING :]
    rows = room[: 4 * t * PENDING].reshape(4 * t, PENDING)
    sums[:], d_row[:], d_answer[:], readouts[:], columns[:], d_weights[:] = 0, 0, 0, 0, 0, 0
    zero, one, waiting = splat(width, x.dtype.type(0)), splat(width, x.dtype.type(1)), 0
    left = (channels + t) * lanes
    if mirrored:
        d_x[first : first + used, m - 1] = 0
    for i in range(m - 1 - mirrored, -1, -1):
        for j in range(n - 1, -1, -1):
            column = n - 1 - j if mirrored else j
            cell = (i * n + j) * wide * KEPT
            for q in range(shown):
                for b in range(used):
                    d_answer[q * lanes + b] = grad[first + b, q, i + mirrored, column]
            for u in range(0, t, 4):
                _product(width, readout, u * shown, d_answer, shown, d_h, u * lanes)
            if j == n - 1:
                d_inputs[left:] = 0
                d_c[:] = 0
            for u in range(t):
                at, lane = cell + u * KEPT * lanes, u * lanes
                o, f = load(width, kept, at), load(width, kept, at + lanes)
                a, g = load(width, kept, at + 2 * lanes), load(width, kept, at + 3 * lanes)
                bent, h = tanh(load(width, kept, at + 4 * lanes)), load(width, kept, at + 5 * lanes)
                before = load(width, kept, at - wide * KEPT + 4 * lanes) if j else zero
                for q in range(learnt):
                    at = (q * t + u) * lanes
                    store(readouts, at, fma(load(width, d_answer, q * lanes), h, load(width, readouts, at)))
                dh = load(width, d_h, lane) + load(width, d_row, j * wide + lane) + load(width, d_inputs, left + lane)
                dc = fma(dh * o, one - bent * bent, load(width, d_c, lane))
                store(d_c, lane, dc * f)
                store(gates, 4 * lane, dh * bent * o * (one - o))
                store(gates, 4 * lane + lanes, dc * before * f * (one - f))
                store(gates, 4 * lane + 2 * lanes, dc * g * a * (one - a))
                store(gates, 4 * lane + 3 * lanes, dc * a * (one - g * g))
            for r in range(4 * t):
                value = load(width, gates, r * lanes)
                store(sums, r * lanes, load(width, sums, r * lanes) + value)
                store(rows[r], waiting, value)
            for b in range(used):
                for k in range(channels):
                    columns[k, waiting + b] = x[first + b, i, column, k]
            for u in range(t):
                at = cell + (u * KEPT + 5) * lanes
                above = load(width, kept, at - n * wide * KEPT) if i else zero
                store(columns[channels + u], waiting, above)
                store(columns[channels + t + u], waiting, load(width, kept, at - wide * KEPT) if j else zero)
            for s in range(0, seen, 4):
                _product(width, weights, s * 4 * t, gates, 4 * t, d_inputs, s * lanes)
            _copy(width, d_inputs, channels * lanes, d_row, j * wide, t)
            for b in range(used):
                for k in range(channels):
                    d_x[first + b, i, column, k] = d_inputs[k * lanes + b]
            waiting += lanes
            if waiting == pending:
                _weight_gradients(rows, columns, waiting, d_weights)
                waiting = 0
    _weight_gradients(rows, columns, waiting, d_weights)
    for b in range(used):
        for r in range(4 * t):
            d_bias[first + b, r] = sums[r * lanes + b]
    for q in range(learnt):
        for u in range(t):
            d_readout[q, u] = total(load(width, readouts, (q * t + u) * lanes))


def backward_room(lanes: int, n: int, channels: int, t: int, shown: int) -> int:
    size = padded(channels + 2 * t, BLOCK)
    by_lane = 4 * t + 4 * t + size + padded(t, 4) + t + n * t + shown + shown * t
    return lanes * by_lane + (size + 4 * t) * PENDING
