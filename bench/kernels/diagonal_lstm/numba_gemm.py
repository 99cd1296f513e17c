"""Products and copies of both passes of the compiled diagonal LSTM, and how they are compiled.

A column of vectors is written as (features, L): one vector per feature, with L images as its lanes.
"""

from pathlib import Path

import numpy as np

from bench.kernels.numba_simd import PIECE, add_totals, fma, load, splat, spread, store, transpose_block
from mnistref.common.numba_jit import compiler

HERE = Path(__file__).parent
compiled = compiler(HERE, *sorted(HERE.glob("*.py")), *sorted(HERE.parent.glob("numba_*.py")))

KEPT = 6
"""Number of vectors per unit and cell that are saved for the backward pass: o, f, i, g, c, h."""

BLOCK = 12
"""Inputs are padded to a multiple of this, because the gradient of the weights is computed by such blocks."""

PENDING = 240
"""Columns (cells · L) of gradients that are collected, at most, before they are multiplied.

Both factors together take less than half of a level-2 cache. The number is an odd number of cache lines, so that rows
do not compete for the same cache sets.
"""


def padded(count: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not less than `count`."""
    return -(-count // multiple) * multiple


@compiled(forceinline=True)
def product(
    width: tuple[int, ...],
    weights: np.ndarray,
    start: int,
    inputs: np.ndarray,
    count: int,
    out: np.ndarray,
    offset: int,
) -> None:
    """Write four rows of out (…, L) = weights (count, 4)ᵀ · inputs (count, L)."""
    lanes = len(width)
    a = b = c = d = splat(width, weights.dtype.type(0))
    for k in range(count):
        x = load(width, inputs, k * lanes)
        a = fma(spread(width, weights, start + 4 * k), x, a)
        b = fma(spread(width, weights, start + 4 * k + 1), x, b)
        c = fma(spread(width, weights, start + 4 * k + 2), x, c)
        d = fma(spread(width, weights, start + 4 * k + 3), x, d)
    store(out, offset, a)
    store(out, offset + lanes, b)
    store(out, offset + 2 * lanes, c)
    store(out, offset + 3 * lanes, d)


@compiled(forceinline=True)
def copy(width: tuple[int, ...], source: np.ndarray, start: int, out: np.ndarray, offset: int, count: int) -> None:
    """Copy `count` vectors."""
    for k in range(0, count * len(width), len(width)):
        store(out, offset + k, load(width, source, start + k))


@compiled
def write_sums(
    sums: np.ndarray, readouts: np.ndarray, first: int, used: int, lanes: int, d_bias: np.ndarray, d_readout: np.ndarray
) -> None:
    """Write the gradients of bias and readout of a group.

    Args:
        sums: (4t, L), summed over cells.
        readouts: (p, t, L), summed over cells.
        first: the first image of the group.
        used: number of its images.
        lanes: L.
        d_bias: output, (B, 4t).
        d_readout: output, (p, t); or (0, t), if it is not needed.
    """
    for b in range(used):
        for r in range(d_bias.shape[1]):
            d_bias[first + b, r] = sums[r * lanes + b]
    t = d_readout.shape[1]
    for q in range(len(d_readout)):
        for u in range(t):
            at = (q * t + u) * lanes
            d_readout[q, u] = readouts[at : at + lanes].sum()


@compiled
def transpose(
    source: np.ndarray, offset: int, stride: int, rows: int, columns: int, out: np.ndarray, to: int, step: int
) -> None:
    """Set out[to + c · step + r] = source[offset + r · stride + c] for r < rows, c < columns."""
    squares, across = rows // PIECE * PIECE, columns // PIECE * PIECE
    for r in range(0, squares, PIECE):
        for c in range(0, across, PIECE):
            transpose_block(source, offset + r * stride + c, stride, out, to + c * step + r, step)
    for r in range(rows):
        for c in range(across if r < squares else 0, columns):
            out[to + c * step + r] = source[offset + r * stride + c]


@compiled
def add_weight_gradients(
    strip: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, count: int, out: np.ndarray
) -> None:
    """Add columns (S, PENDING) · rows (R, PENDING)ᵀ over the first `count` to out (S, R), R in fours, S in BLOCKs.

    `strip` is a tuple whose length, one register of numbers, divides `count`.
    """
    size = columns.shape[0]
    for block in range(0, size, BLOCK):
        for r in range(0, rows.shape[0], 4):
            for s in range(block, block + BLOCK, 3):
                r0, r1, r2, r3 = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
                s0, s1, s2 = columns[s], columns[s + 1], columns[s + 2]
                a0 = a1 = a2 = b0 = b1 = b2 = splat(strip, rows.dtype.type(0))
                c0 = c1 = c2 = d0 = d1 = d2 = a0
                for k in range(0, count, len(strip)):
                    x, y, z = load(strip, s0, k), load(strip, s1, k), load(strip, s2, k)
                    w = load(strip, r0, k)
                    a0, a1, a2 = fma(w, x, a0), fma(w, y, a1), fma(w, z, a2)
                    w = load(strip, r1, k)
                    b0, b1, b2 = fma(w, x, b0), fma(w, y, b1), fma(w, z, b2)
                    w = load(strip, r2, k)
                    c0, c1, c2 = fma(w, x, c0), fma(w, y, c1), fma(w, z, c2)
                    w = load(strip, r3, k)
                    d0, d1, d2 = fma(w, x, d0), fma(w, y, d1), fma(w, z, d2)
                add_totals(out[s], r, a0, b0, c0, d0)
                add_totals(out[s + 1], r, a1, b1, c1, d1)
                add_totals(out[s + 2], r, a2, b2, c2, d2)
