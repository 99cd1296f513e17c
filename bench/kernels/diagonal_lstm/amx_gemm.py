"""Matrix products of both passes of the diagonal LSTM by AMX, in blocks of two by two tiles.

A column of vectors in pairs is (K/2, L, 2): the features 2k and 2k + 1 of L images, see `numba_tiles`.
"""

import numpy as np

from bench.kernels.diagonal_lstm.numba_gemm import compiled
from bench.kernels.numba_tiles import DEPTH, ROWS, load_tile, multiply_tiles, store_tile


@compiled
def add_block(
    left: np.ndarray, at: int, stride: int, right: np.ndarray, of: int, step: int, depth: int, columns: int
) -> None:
    """Add left (32, depth) · right (depth, columns) to the tiles 0 … 3, row by row; columns is 16 or 32.

    Args:
        left: bf16.
        at: where `left` starts.
        stride: numbers between two rows of `left`.
        right: bf16 in pairs.
        of: where `right` starts.
        step: numbers between two rows of pairs of `right`.
        depth: a multiple of DEPTH.
        columns: columns of `right`.
    """
    for k in range(0, depth, DEPTH):
        load_tile(4, left, at + k, stride)
        load_tile(5, left, at + k + ROWS * stride, stride)
        load_tile(6, right, of + k // 2 * step, step)
        multiply_tiles(0, 4, 6)
        multiply_tiles(2, 5, 6)
        if columns > ROWS:
            load_tile(7, right, of + k // 2 * step + 2 * ROWS, step)
            multiply_tiles(1, 4, 7)
            multiply_tiles(3, 5, 7)


@compiled
def load_block(source: np.ndarray, at: int, stride: int, columns: int) -> None:
    """Load the tiles 0 … 3 from (32, columns) numbers in fp32; columns is 16 or 32."""
    load_tile(0, source, at, stride)
    load_tile(2, source, at + ROWS * stride, stride)
    if columns > ROWS:
        load_tile(1, source, at + ROWS, stride)
        load_tile(3, source, at + ROWS * stride + ROWS, stride)


@compiled
def store_block(out: np.ndarray, at: int, stride: int, columns: int) -> None:
    """Store the tiles 0 … 3 as (32, columns) numbers in fp32; columns is 16 or 32."""
    store_tile(0, out, at, stride)
    store_tile(2, out, at + ROWS * stride, stride)
    if columns > ROWS:
        store_tile(1, out, at + ROWS, stride)
        store_tile(3, out, at + ROWS * stride + ROWS, stride)
