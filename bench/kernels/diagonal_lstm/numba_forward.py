"""The forward pass of the compiled diagonal LSTM: one direction over a group of images, cell by cell in raster order.

On a CPU, processing by diagonals has no advantage: the images of a group are the lanes of vectors, so each cell is a
product of the weights, which stay in the cache, with [x, h above, h left] of these images.

Shapes: B images, m × n cells, C channels of x, t units, S = C + 2t inputs, L images of the group, p rows of the
readout. Gates are stored unit by unit, in the order o, f, i, g.

The right direction is the left one on the mirrored map, by addressing. Its last row is skipped, because no output uses
it.
"""

import numpy as np

from bench.kernels.diagonal_lstm.numba_gemm import KEPT, compiled, copy, product
from bench.kernels.numba_exponentials import sigmoid, tanh
from bench.kernels.numba_simd import fma, load, spread, store


@compiled(forceinline=True)
def states(
    width: tuple[int, ...],
    weights: np.ndarray,
    start: np.ndarray,
    inputs: np.ndarray,
    seen: int,
    c: np.ndarray,
    row: np.ndarray,
    at_row: int,
    kept: np.ndarray,
    here: int,
) -> None:
    """Compute one cell (Eq. 8): c (t, L) replaces the c to the left; h (t, L) is written at `at_row` of `row`."""
    lanes = len(width)
    for u in range(len(c) // lanes):
        o = load(width, start, 4 * u * lanes)
        f = load(width, start, (4 * u + 1) * lanes)
        a = load(width, start, (4 * u + 2) * lanes)
        g = load(width, start, (4 * u + 3) * lanes)
        for k in range(seen):
            value, at = load(width, inputs, k * lanes), 4 * (u * seen + k)
            o = fma(spread(width, weights, at), value, o)
            f = fma(spread(width, weights, at + 1), value, f)
            a = fma(spread(width, weights, at + 2), value, a)
            g = fma(spread(width, weights, at + 3), value, g)
        o, f, a, g = sigmoid(o), sigmoid(f), sigmoid(a), tanh(g)
        memory = fma(f, load(width, c, u * lanes), a * g)
        h = o * tanh(memory)
        store(c, u * lanes, memory)
        store(row, at_row + u * lanes, h)
        if len(kept):
            at = here + u * KEPT * lanes
            store(kept, at, o)
            store(kept, at + lanes, f)
            store(kept, at + 2 * lanes, a)
            store(kept, at + 3 * lanes, g)
            store(kept, at + 4 * lanes, memory)
            store(kept, at + 5 * lanes, h)


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
    workspace: np.ndarray,
    kept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the images from `first` on, in one direction.

    Args:
        width: (0,) · L.
        shape: m, n, C.
        used: number of images of the group; the other lanes are padding.
        x: the map of the group, m · n · C · L numbers.
        bias: (B, 4t), unit by unit.
        weights: t · S · 4, unit by unit.
        readout: p/4 · t · 4, its p rows padded with zeros to a multiple of four.
        first: the first image of the group.
        mirrored: whether this is the right direction.
        workspace: workspace of `workspace_size()` numbers.
        kept: empty, or cells · t · KEPT · L numbers that are saved for the backward pass.
        out: output, (B, p, m, n).
    """
    lanes, (m, n, channels) = len(width), shape
    t, rows = bias.shape[1] // 4, m - mirrored
    seen, wide, shown = channels + 2 * t, t * lanes, out.shape[1]
    inputs, workspace = workspace[: seen * lanes], workspace[seen * lanes :]
    start, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    c, workspace = workspace[:wide], workspace[wide:]
    row, answer = workspace[: n * wide], workspace[n * wide :]
    inputs[:], start[:], row[:] = 0, 0, 0
    for b in range(used):
        for g in range(4 * t):
            start[g * lanes + b] = bias[first + b, g]
    if mirrored:
        out[first : first + used, :, 0] = 0
    for i in range(rows):
        for j in range(n):
            column = n - 1 - j if mirrored else j
            copy(width, x, (i * n + column) * channels * lanes, inputs, 0, channels)
            copy(width, row, j * wide, inputs, channels * lanes, t)
            if j:
                copy(width, row, (j - 1) * wide, inputs, (channels + t) * lanes, t)
            else:
                inputs[(channels + t) * lanes :] = 0
                c[:] = 0
            states(width, weights, start, inputs, seen, c, row, j * wide, kept, (i * n + j) * wide * KEPT)
            for q in range(0, shown, 4):
                product(width, readout, q * t, row[j * wide :], t, answer, 0)
                for k in range(min(4, shown - q)):
                    for b in range(used):
                        out[first + b, q + k, i + mirrored, column] = answer[k * lanes + b]


def workspace_size(lanes: int, n: int, channels: int, t: int) -> int:
    """Return the size of the workspace of `forward`."""
    return lanes * (channels + 2 * t + 4 * t + t + n * t + 4)
