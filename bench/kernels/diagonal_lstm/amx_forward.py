"""The forward pass of the diagonal LSTM in bf16 by AMX: one direction over a group of images, as in `numba_forward`.

Shapes and order as there. The weights, x and h are multiplied in bf16, and the values saved for the backward pass are
in bf16. All else is in fp32. x and h are stored in pairs, see `amx_gemm`, so that tiles are loaded from them without a
copy. C and t are multiples of 32, L is 16 or 32.
"""

import numpy as np

from bench.kernels.diagonal_lstm.amx_gemm import add_block, load_block, store_block
from bench.kernels.diagonal_lstm.numba_gemm import KEPT, compiled, copy, product
from bench.kernels.numba_exponentials import quick_sigmoid, quick_tanh
from bench.kernels.numba_simd import fma, load, store
from bench.kernels.numba_tiles import configure_tiles, release_tiles, store_pairs


@compiled
def states(
    width: tuple[int, ...],
    gates: np.ndarray,
    c: np.ndarray,
    h: np.ndarray,
    row: np.ndarray,
    at_row: int,
    kept: np.ndarray,
    here: int,
) -> None:
    """Compute one cell (Eq. 8) from its gates (4t, L), unit by unit, before the nonlinearities.

    c (t, L) replaces the c to the left; h (t, L) is also written in pairs at `at_row` of `row`. If `kept` is not empty,
    o, f, i, g and c of each unit are written from `here` on, and then h in pairs.
    """
    lanes = len(width)
    units = len(c) // lanes
    for u in range(units):
        at = 4 * u * lanes
        o, f = quick_sigmoid(load(width, gates, at)), quick_sigmoid(load(width, gates, at + lanes))
        a, g = quick_sigmoid(load(width, gates, at + 2 * lanes)), quick_tanh(load(width, gates, at + 3 * lanes))
        memory = fma(f, load(width, c, u * lanes), a * g)
        store(c, u * lanes, memory)
        store(h, u * lanes, o * quick_tanh(memory))
        if len(kept):
            at = here + u * (KEPT - 1) * lanes
            store(kept, at, o)
            store(kept, at + lanes, f)
            store(kept, at + 2 * lanes, a)
            store(kept, at + 3 * lanes, g)
            store(kept, at + 4 * lanes, memory)
    for u in range(0, units, 2):
        first, second = load(width, h, u * lanes), load(width, h, (u + 1) * lanes)
        store_pairs(row, at_row + u * lanes, first, second)
        if len(kept):
            store_pairs(kept, here + (units * (KEPT - 1) + u) * lanes, first, second)


@compiled
def forward(
    width: tuple[int, ...],
    shape: tuple[int, int, int],
    used: int,
    x: np.ndarray,
    bias: np.ndarray,
    weights: np.ndarray,
    readout: np.ndarray,
    first: int,
    mirrored: bool,
    layout: np.ndarray,
    workspace: np.ndarray,
    row: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the images from `first` on, in one direction.

    Args:
        width: (0,) · L.
        shape: m, n, C.
        used: number of images of the group; the other lanes are padding.
        x: bf16, the map of the group in pairs, m · n · C/2 · L · 2 numbers.
        bias: (B, 4t), unit by unit.
        weights: bf16, 4t · S, unit by unit.
        readout: p/4 · t · 4, its p rows padded with zeros to a multiple of four.
        first: the first image of the group.
        mirrored: whether this is the right direction.
        layout: of the tiles, see `configure_tiles`.
        workspace: `workspace_size()` numbers.
        row: bf16, n · t · L numbers.
        kept: bf16, empty, or cells · t · KEPT · L numbers that are saved for the backward pass.
        out: output, p · m · n · L numbers.
    """
    lanes, (m, n, channels) = len(width), shape
    t, rows, shown = bias.shape[1] // 4, m - mirrored, len(out) // (m * n * lanes)
    seen, wide = channels + 2 * t, t * lanes
    start, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    gates, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    c, workspace = workspace[:wide], workspace[wide:]
    h, answer = workspace[:wide], workspace[wide:]
    start[:], row[:] = 0, 0
    for b in range(used):
        for g in range(4 * t):
            start[g * lanes + b] = bias[first + b, g]
    if mirrored:
        for q in range(shown):
            out[q * m * n * lanes : (q * m + 1) * n * lanes] = 0
    configure_tiles(layout)
    for i in range(rows):
        for j in range(n):
            column = n - 1 - j if mirrored else j
            at_x = (i * n + column) * channels * lanes
            if j == 0:
                c[:] = 0
            for g in range(0, 4 * t, 32):
                load_block(start, g * lanes, lanes, lanes)
                add_block(weights, g * seen, seen, x, at_x, 2 * lanes, channels, lanes)
                add_block(weights, g * seen + channels, seen, row, j * wide, 2 * lanes, t, lanes)
                if j:
                    add_block(weights, g * seen + channels + t, seen, row, (j - 1) * wide, 2 * lanes, t, lanes)
                store_block(gates, g * lanes, lanes, lanes)
            states(width, gates, c, h, row, j * wide, kept, (i * n + j) * wide * KEPT)
            for q in range(0, shown, 4):
                product(width, readout, q * t, h, t, answer, 0)
                for k in range(min(4, shown - q)):
                    copy(width, answer, k * lanes, out, ((q + k) * m * n + (i + mirrored) * n + column) * lanes, 1)
    release_tiles()


def workspace_size(lanes: int, t: int) -> int:
    """Return the size of the workspace of `forward`."""
    return lanes * (4 * t + 4 * t + t + t + 4)
