"""The backward pass of the compiled diagonal LSTM: cell by cell in reverse raster order.

Shapes as in `numba_forward`. Gates are read from the values that the forward pass saved, which is faster than computing
them again. The gradient of the weights is a product over all cells, computed for a few cells at a time while they are
in the cache.
"""

import numpy as np

from bench.kernels.diagonal_lstm.numba_gemm import (
    BLOCK,
    KEPT,
    PENDING,
    add_weight_gradients,
    compiled,
    copy,
    padded,
    product,
    write_sums,
)
from bench.kernels.numba_exponentials import tanh
from bench.kernels.numba_simd import fma, load, splat, store


@compiled(forceinline=True)
def gradients_of_gates(
    width: tuple[int, ...],
    kept: np.ndarray,
    cell: int,
    before: int,
    d_h: np.ndarray,
    d_above: np.ndarray,
    d_left: np.ndarray,
    d_c: np.ndarray,
    gates: np.ndarray,
) -> None:
    """Compute the gradients of a cell's gates from those of its h (t, L), which come from three sides, and of its c.

    `cell` and `before` are the positions of the saved values of the cell and of the cell to its left, −1 if there is
    none. `d_c` becomes the gradient of the c to the left.
    """
    lanes = len(width)
    zero, one = splat(width, kept.dtype.type(0)), splat(width, kept.dtype.type(1))
    for u in range(len(d_c) // lanes):
        at, lane = cell + u * KEPT * lanes, u * lanes
        o, f = load(width, kept, at), load(width, kept, at + lanes)
        a, g = load(width, kept, at + 2 * lanes), load(width, kept, at + 3 * lanes)
        bent = tanh(load(width, kept, at + 4 * lanes))
        c = load(width, kept, before + (u * KEPT + 4) * lanes) if before >= 0 else zero
        dh = load(width, d_h, lane) + load(width, d_above, lane) + load(width, d_left, lane)
        dc = fma(dh * o, one - bent * bent, load(width, d_c, lane))
        store(d_c, lane, dc * f)
        store(gates, 4 * lane, dh * bent * o * (one - o))
        store(gates, 4 * lane + lanes, dc * c * f * (one - f))
        store(gates, 4 * lane + 2 * lanes, dc * g * a * (one - a))
        store(gates, 4 * lane + 3 * lanes, dc * a * (one - g * g))


@compiled
def backward(
    width: tuple[int, ...],
    strip: tuple[int, ...],
    shape: tuple[int, int, int],
    used: int,
    x: np.ndarray,
    weights: np.ndarray,
    readout: np.ndarray,
    grad: np.ndarray,
    first: int,
    mirrored: bool,
    kept: np.ndarray,
    workspace: np.ndarray,
    d_x: np.ndarray,
    d_bias: np.ndarray,
    d_weights: np.ndarray,
    d_readout: np.ndarray,
) -> None:
    """Compute the gradients of `numba_forward.forward` from grad (B, p, m, n).

    Args:
        width: as in `numba_forward.forward`.
        strip: (0,) · the numbers in a register, which divide the L images of the group.
        shape: as in `numba_forward.forward`.
        used: as in `numba_forward.forward`.
        x: as in `numba_forward.forward`.
        weights: S′/4 · 4t · 4, the transposed weights of four inputs at a time; S′ is S padded to BLOCKs.
        readout: t′/4 · p · 4, four units at a time; t′ is t padded to fours.
        grad: (B, p, m, n), the gradient of the output.
        first: the first image of the group.
        mirrored: whether this is the right direction.
        kept: the values that the forward pass saved.
        workspace: workspace of `workspace_size()` numbers.
        d_x: output, the map of the group, m · n · C · L numbers.
        d_bias: output, (B, 4t).
        d_weights: output, (S′, 4t) of this group, unit by unit.
        d_readout: output, (p, t) of this group; or (0, t), if it is not needed.
    """
    lanes, (m, n, channels) = len(width), shape
    t, shown, learnt = d_bias.shape[1] // 4, grad.shape[1], d_readout.shape[0]
    seen, wide, size, tall = channels + 2 * t, t * lanes, d_weights.shape[0], (t + 3) // 4 * 4
    gates, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    sums, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    d_inputs, workspace = workspace[: size * lanes], workspace[size * lanes :]
    d_h, workspace = workspace[: tall * lanes], workspace[tall * lanes :]
    d_c, workspace = workspace[:wide], workspace[wide:]
    d_row, workspace = workspace[: n * wide], workspace[n * wide :]
    d_answer, workspace = workspace[: shown * lanes], workspace[shown * lanes :]
    readouts, workspace = workspace[: shown * wide], workspace[shown * wide :]
    columns, workspace = workspace[: size * PENDING].reshape(size, PENDING), workspace[size * PENDING :]
    rows = workspace[: 4 * t * PENDING].reshape(4 * t, PENDING)
    sums[:], d_row[:], d_answer[:], readouts[:], columns[:], d_weights[:] = 0, 0, 0, 0, 0, 0
    zero, waiting = splat(width, x.dtype.type(0)), 0
    left = (channels + t) * lanes
    if mirrored:
        d_x[(m - 1) * n * channels * lanes :] = 0
    for i in range(m - 1 - mirrored, -1, -1):
        for j in range(n - 1, -1, -1):
            column = n - 1 - j if mirrored else j
            cell = (i * n + j) * wide * KEPT
            for q in range(shown):
                for b in range(used):
                    d_answer[q * lanes + b] = grad[first + b, q, i + mirrored, column]
            for u in range(0, t, 4):
                product(width, readout, u * shown, d_answer, shown, d_h, u * lanes)
            if j == n - 1:
                d_inputs[left:] = 0
                d_c[:] = 0
            before = cell - wide * KEPT if j else -1
            gradients_of_gates(width, kept, cell, before, d_h, d_row[j * wide :], d_inputs[left:], d_c, gates)
            for q in range(learnt):
                factor = load(width, d_answer, q * lanes)
                for u in range(t):
                    at, h = (q * t + u) * lanes, load(width, kept, cell + (u * KEPT + 5) * lanes)
                    store(readouts, at, fma(factor, h, load(width, readouts, at)))
            for r in range(4 * t):
                value = load(width, gates, r * lanes)
                store(sums, r * lanes, load(width, sums, r * lanes) + value)
                store(rows[r], waiting, value)
            at_x = (i * n + column) * channels * lanes
            for k in range(channels):
                store(columns[k], waiting, load(width, x, at_x + k * lanes))
            for u in range(t):
                at = cell + (u * KEPT + 5) * lanes
                above = load(width, kept, at - n * wide * KEPT) if i else zero
                store(columns[channels + u], waiting, above)
                store(columns[channels + t + u], waiting, load(width, kept, at - wide * KEPT) if j else zero)
            for s in range(0, seen, 4):
                product(width, weights, s * 4 * t, gates, 4 * t, d_inputs, s * lanes)
            copy(width, d_inputs, channels * lanes, d_row, j * wide, t)
            copy(width, d_inputs, 0, d_x, at_x, channels)
            waiting += lanes
            if waiting + lanes > PENDING:
                add_weight_gradients(strip, rows, columns, waiting, d_weights)
                waiting = 0
    add_weight_gradients(strip, rows, columns, waiting, d_weights)
    write_sums(sums, readouts, first, used, lanes, d_bias, d_readout)


def workspace_size(lanes: int, n: int, channels: int, t: int, shown: int) -> int:
    """Return the size of the workspace of `backward`."""
    size = padded(channels + 2 * t, BLOCK)
    by_lane = 4 * t + 4 * t + size + padded(t, 4) + t + n * t + shown + shown * t
    return lanes * by_lane + (size + 4 * t) * PENDING
