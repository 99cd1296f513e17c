"""Copies between maps of images and maps whose lanes are the images of a group.

A map of images is (B, P, C): P cells, C channels. In the map of a group, (P, C, L), each cell is a column of vectors,
one lane for each of the L images, so that the passes read and write it in one piece. Both are flat. PIECE images are
copied at a time, so that memory is read or written at few places at once.
"""

import numpy as np

from bench.kernels.diagonal_lstm.numba_gemm import compiled, transpose
from bench.kernels.numba_simd import PIECE

TILE = 1 << 15
"""Numbers of a group's map that are copied at a time, so that they stay in the second-level cache."""


@compiled
def to_lanes(x: np.ndarray, first: int, used: int, lanes: int, cells: int, channels: int, out: np.ndarray) -> None:
    """Write the map of a group to `out`.

    Args:
        x: B · P · C numbers.
        first: the first image of the group.
        used: number of its images; the other lanes become 0.
        lanes: L.
        cells: P.
        channels: C.
        out: output, P · C · L numbers.
    """
    image, tile = cells * channels, max(1, TILE // (channels * lanes))
    if used < lanes:
        out[:] = 0
    for start in range(0, cells, tile):
        for b in range(0, used, PIECE):
            for cell in range(start, min(start + tile, cells)):
                source, to = (first + b) * image + cell * channels, cell * channels * lanes + b
                transpose(x, source, image, min(PIECE, used - b), channels, out, to, lanes)


@compiled
def from_lanes(source: np.ndarray, first: int, used: int, lanes: int, count: int, out: np.ndarray) -> None:
    """Write `count` numbers of each image of a group, given as (count, L), to `out`, of B images."""
    for b in range(0, used, PIECE):
        transpose(source, b, lanes, count, min(PIECE, used - b), out, (first + b) * count, count)


@compiled
def add_from_lanes(
    one: np.ndarray, two: np.ndarray, first: int, used: int, lanes: int, cells: int, channels: int, out: np.ndarray
) -> None:
    """Write the sum of two maps of a group to the map of images. `one` becomes the sum.

    Args:
        one: P · C · L numbers.
        two: P · C · L numbers.
        first: as in `to_lanes`.
        used: as in `to_lanes`.
        lanes: as in `to_lanes`.
        cells: as in `to_lanes`.
        channels: as in `to_lanes`.
        out: output, B · P · C numbers.
    """
    image, tile = cells * channels, max(1, TILE // (channels * lanes))
    for start in range(0, cells, tile):
        stop = min(start + tile, cells)
        for k in range(start * channels * lanes, stop * channels * lanes):
            one[k] += two[k]
        for b in range(0, used, PIECE):
            for cell in range(start, stop):
                source, to = cell * channels * lanes + b, (first + b) * image + cell * channels
                transpose(one, source, lanes, channels, min(PIECE, used - b), out, to, image)
