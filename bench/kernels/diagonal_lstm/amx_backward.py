"""The backward pass of the diagonal LSTM in bf16 by AMX: cell by cell in reverse raster order, as in `numba_backward`.

Shapes as in `amx_forward`. The weights, x, h and the gradients of gates are multiplied in bf16, and saved values are
read in bf16. All else is in fp32. The gradient of the weights is a product over all cells, computed for a few cells at
a time while they are in the cache.
"""

import numpy as np

from bench.kernels.diagonal_lstm.amx_gemm import add_block, load_block, store_block
from bench.kernels.diagonal_lstm.numba_gemm import KEPT, compiled, copy, product, transpose, write_sums
from bench.kernels.numba_exponentials import quick_tanh
from bench.kernels.numba_simd import fma, load, splat, store
from bench.kernels.numba_tiles import DEPTH, configure_tiles, release_tiles, split_pairs, store_pairs

PENDING = 256
"""Columns (cells · L) of gradients that are collected, at most, before they are multiplied; a multiple of 32."""


@compiled
def gradients_of_gates(
    width: tuple[int, ...],
    kept: np.ndarray,
    cell: int,
    before: int,
    d_h: np.ndarray,
    d_above: np.ndarray,
    d_left: np.ndarray,
    d_c: np.ndarray,
    h: np.ndarray,
    sums: np.ndarray,
    rows: np.ndarray,
    at_rows: int,
    gates: np.ndarray,
) -> None:
    """Compute the gradients of a cell's gates from those of its h (t, L), which come from three sides, and of its c.

    `cell` and `before` are the positions of the saved values of the cell and of the cell to its left, −1 if there is
    none. `d_c` becomes the gradient of the c to the left. `h` becomes the h of the cell. The gradients are added to
    `sums` (4t, L), and written to `rows` (4t, PENDING) from column `at_rows` on, and to `gates` in pairs.
    """
    lanes, saved = len(width), KEPT - 1
    zero, one = splat(width, np.float32(0)), splat(width, np.float32(1))
    for u in range(len(d_c) // lanes):
        at, lane = cell + u * saved * lanes, u * lanes
        o, f = load(width, kept, at), load(width, kept, at + lanes)
        a, g = load(width, kept, at + 2 * lanes), load(width, kept, at + 3 * lanes)
        bent = quick_tanh(load(width, kept, at + 4 * lanes))
        c = load(width, kept, before + (u * saved + 4) * lanes) if before >= 0 else zero
        dh = load(width, d_h, lane) + load(width, d_above, lane) + load(width, d_left, lane)
        dc = fma(dh * o, one - bent * bent, load(width, d_c, lane))
        store(d_c, lane, dc * f)
        store(h, lane, o * bent)
        of_o, of_f = dh * bent * o * (one - o), dc * c * f * (one - f)
        of_a, of_g = dc * g * a * (one - a), dc * a * (one - g * g)
        store_pairs(gates, 4 * lane, of_o, of_f)
        store_pairs(gates, 4 * lane + 2 * lanes, of_a, of_g)
        at = 4 * u * PENDING + at_rows
        store(rows, at, of_o)
        store(rows, at + PENDING, of_f)
        store(rows, at + 2 * PENDING, of_a)
        store(rows, at + 3 * PENDING, of_g)
        store(sums, 4 * lane, load(width, sums, 4 * lane) + of_o)
        store(sums, 4 * lane + lanes, load(width, sums, 4 * lane + lanes) + of_f)
        store(sums, 4 * lane + 2 * lanes, load(width, sums, 4 * lane + 2 * lanes) + of_a)
        store(sums, 4 * lane + 3 * lanes, load(width, sums, 4 * lane + 3 * lanes) + of_g)


@compiled
def copy_states(
    width: tuple[int, ...], kept: np.ndarray, at: int, exists: bool, t: int, columns: np.ndarray, to: int
) -> None:
    """Write the h (t, L) in pairs at kept[at:] to `columns` (S, PENDING) from `to` on; zeros if it does not exist."""
    lanes = len(width)
    for u in range(0, t, 2):
        if exists:
            split_pairs(width, kept, at + u * lanes, columns, to + u * PENDING, to + (u + 1) * PENDING)
        else:
            columns[to + u * PENDING : to + u * PENDING + lanes] = 0
            columns[to + (u + 1) * PENDING : to + (u + 1) * PENDING + lanes] = 0


@compiled
def add_weight_gradients(
    rows: np.ndarray,
    columns: np.ndarray,
    words: np.ndarray,
    across: np.ndarray,
    turned: np.ndarray,
    count: int,
    out: np.ndarray,
) -> None:
    """Add rows (R, PENDING) · columns (S, PENDING)ᵀ over the first `count` to out (R, S), both in bf16.

    Args:
        rows: (R, PENDING).
        columns: (S, PENDING).
        words: the memory of `columns`, of which each f4 holds two numbers.
        across: workspace for `columns` in pairs, (PENDING/2, S, 2).
        turned: its memory, of which each f4 holds two numbers.
        count: number of columns; those up to the next multiple of DEPTH become 0.
        out: output, fp32.
    """
    size, height = len(columns) // PENDING, len(rows) // PENDING
    depth = (count + DEPTH - 1) // DEPTH * DEPTH
    if depth > count:
        for r in range(height):
            rows[r * PENDING + count : r * PENDING + depth] = 0
        for s in range(size):
            columns[s * PENDING + count : s * PENDING + depth] = 0
    transpose(words, 0, PENDING // 2, size, depth // 2, turned, 0, size)
    for r in range(0, height, 32):
        for s in range(0, size, 32):
            load_block(out, r * size + s, size, 32)
            add_block(rows, r * PENDING, PENDING, across, 2 * s, 2 * size, depth, 32)
            store_block(out, r * size + s, size, 32)


@compiled
def backward(
    width: tuple[int, ...],
    shape: tuple[int, int, int],
    used: int,
    x: np.ndarray,
    weights: np.ndarray,
    readout: np.ndarray,
    grad: np.ndarray,
    first: int,
    mirrored: bool,
    layout: np.ndarray,
    kept: np.ndarray,
    workspace: np.ndarray,
    halves: np.ndarray,
    words: np.ndarray,
    d_x: np.ndarray,
    d_bias: np.ndarray,
    d_weights: np.ndarray,
    d_readout: np.ndarray,
) -> None:
    """Compute the gradients of `amx_forward.forward` from grad (p, m, n, L).

    Args:
        width: as in `amx_forward.forward`.
        shape: as in `amx_forward.forward`.
        used: as in `amx_forward.forward`.
        x: as in `amx_forward.forward`.
        weights: bf16, S · 4t.
        readout: t/4 · p · 4, four units at a time.
        grad: p · m · n · L numbers, the gradient of the output.
        first: the first image of the group.
        mirrored: whether this is the right direction.
        layout: of the tiles, see `configure_tiles`.
        kept: the values that the forward pass saved.
        workspace: `workspace_size()` numbers.
        halves: bf16, `halves_size()` numbers.
        words: the same memory, of which each f4 holds two numbers.
        d_x: output, the map of the group, m · n · C · L numbers.
        d_bias: output, (B, 4t).
        d_weights: output, (4t, S) of this group, unit by unit, flat.
        d_readout: output, (p, t) of this group; or (0, t), if it is not needed.
    """
    lanes, (m, n, channels) = len(width), shape
    t, shown, learnt = d_bias.shape[1] // 4, len(grad) // (m * n * lanes), d_readout.shape[0]
    seen, wide = channels + 2 * t, t * lanes
    sums, workspace = workspace[: 4 * wide], workspace[4 * wide :]
    d_inputs, workspace = workspace[: seen * lanes], workspace[seen * lanes :]
    d_h, workspace = workspace[:wide], workspace[wide:]
    d_c, workspace = workspace[:wide], workspace[wide:]
    h, workspace = workspace[:wide], workspace[wide:]
    d_row, workspace = workspace[: n * wide], workspace[n * wide :]
    nothing, workspace = workspace[:32], workspace[32:]
    d_answer, readouts = workspace[: shown * lanes], workspace[shown * lanes :]
    size = seen * PENDING
    columns, across, rest = halves[:size], halves[size : 2 * size], halves[2 * size :]
    words_of_columns, words_across = words[: size // 2], words[size // 2 : size]
    rows, gates = rest[: 4 * t * PENDING], rest[4 * t * PENDING :]
    sums[:], d_row[:], d_answer[:], readouts[:], nothing[:], d_weights[:] = 0, 0, 0, 0, 0, 0
    waiting, left = 0, (channels + t) * lanes
    if mirrored:
        d_x[(m - 1) * n * channels * lanes :] = 0
    configure_tiles(layout)
    for i in range(m - 1 - mirrored, -1, -1):
        for j in range(n - 1, -1, -1):
            column = n - 1 - j if mirrored else j
            cell = (i * n + j) * wide * KEPT
            states = cell + (KEPT - 1) * wide
            for q in range(shown):
                copy(width, grad, (q * m * n + (i + mirrored) * n + column) * lanes, d_answer, q * lanes, 1)
            for u in range(0, t, 4):
                product(width, readout, u * shown, d_answer, shown, d_h, u * lanes)
            if j == n - 1:
                d_inputs[left:] = 0
                d_c[:] = 0
            before = cell - wide * KEPT if j else -1
            above, beside = d_row[j * wide :], d_inputs[left:]
            gradients_of_gates(width, kept, cell, before, d_h, above, beside, d_c, h, sums, rows, waiting, gates)
            for q in range(learnt):
                factor = load(width, d_answer, q * lanes)
                for u in range(t):
                    at = (q * t + u) * lanes
                    store(readouts, at, fma(factor, load(width, h, u * lanes), load(width, readouts, at)))
            at_x = (i * n + column) * channels * lanes
            for k in range(0, channels, 2):
                at = k * PENDING + waiting
                split_pairs(width, x, at_x + k * lanes, columns, at, at + PENDING)
            copy_states(width, kept, states - n * wide * KEPT, i > 0, t, columns, channels * PENDING + waiting)
            copy_states(width, kept, states - wide * KEPT, j > 0, t, columns, (channels + t) * PENDING + waiting)
            for s in range(0, seen, 32):
                load_block(nothing, 0, 0, lanes)
                add_block(weights, s * 4 * t, 4 * t, gates, 0, 2 * lanes, 4 * t, lanes)
                store_block(d_inputs, s * lanes, lanes, lanes)
            copy(width, d_inputs, channels * lanes, d_row, j * wide, t)
            copy(width, d_inputs, 0, d_x, at_x, channels)
            waiting += lanes
            if waiting + lanes > PENDING:
                add_weight_gradients(rows, columns, words_of_columns, across, words_across, waiting, d_weights)
                waiting = 0
    add_weight_gradients(rows, columns, words_of_columns, across, words_across, waiting, d_weights)
    release_tiles()
    write_sums(sums, readouts, first, used, lanes, d_bias, d_readout)


def workspace_size(lanes: int, n: int, channels: int, t: int, shown: int) -> int:
    """Return the size of the workspace of `backward`."""
    return lanes * (4 * t + channels + 2 * t + 3 * t + n * t + shown + shown * t) + 32


def halves_size(lanes: int, channels: int, t: int) -> int:
    """Return the size of the workspace of `backward` in bf16."""
    return (2 * (channels + 2 * t) + 4 * t) * PENDING + 4 * t * lanes
