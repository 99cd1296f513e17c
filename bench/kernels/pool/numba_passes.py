"""The compiled passes of 2 × 2 max pooling with ReLU.

Maps are flat and channels last: `x` (N, H, W, C), `out` and `chosen` (N, H // 2, W // 2, C). `chosen` u1 is the index
of the largest of the four pixels of a window, row by row, or OFF if ReLU set it to zero. Each function handles the maps
`first` … `last` − 1. `x`, `out` and gradients are all in fp32, or all in bf16, see `bench.kernels.numba_bf16`.
"""

from pathlib import Path

import numpy as np

from bench.kernels.numba_bf16 import number, put
from mnistref.common.numba_jit import compiler

HERE = Path(__file__).parent
compiled = compiler(HERE, Path(__file__), HERE.parent / "numba_bf16.py")

OFF = 4


@compiled
def forward(
    first: int, last: int, height: int, width: int, channels: int, x: np.ndarray, out: np.ndarray, chosen: np.ndarray
) -> None:
    """Write `out` and `chosen`. As in PyTorch, the first of equal pixels is chosen, and NaN exceeds every number."""
    rows, columns = height // 2, width // 2
    for n in range(first, last):
        for i in range(rows):
            for j in range(columns):
                at, to = ((n * height + 2 * i) * width + 2 * j) * channels, ((n * rows + i) * columns + j) * channels
                top, bottom = x[at : at + 2 * channels], x[at + width * channels : at + (width + 2) * channels]
                largest, which = out[to : to + channels], chosen[to : to + channels]
                for c in range(channels):
                    best, k = number(top, c), np.uint8(0)
                    value = number(top, channels + c)
                    if value > best or value != value:
                        best, k = value, np.uint8(1)
                    value = number(bottom, c)
                    if value > best or value != value:
                        best, k = value, np.uint8(2)
                    value = number(bottom, channels + c)
                    if value > best or value != value:
                        best, k = value, np.uint8(3)
                    if best <= 0:
                        best, k = np.float32(0), np.uint8(OFF)
                    put(largest, c, best)
                    which[c] = k


@compiled
def backward(
    first: int, last: int, height: int, width: int, channels: int, grad: np.ndarray, chosen: np.ndarray, d_x: np.ndarray
) -> None:
    """Write d_x = grad at chosen pixels, and 0 elsewhere."""
    rows, columns, zero = height // 2, width // 2, d_x.dtype.type(0)
    for n in range(first, last):
        start = n * height * width * channels
        d_x[start + 2 * rows * width * channels : start + height * width * channels] = 0
        for i in range(rows):
            for j in range(columns):
                at, to = start + (2 * i * width + 2 * j) * channels, ((n * rows + i) * columns + j) * channels
                top, bottom = d_x[at : at + 2 * channels], d_x[at + width * channels : at + (width + 2) * channels]
                given, which = grad[to : to + channels], chosen[to : to + channels]
                for c in range(channels):
                    top[c] = given[c] if which[c] == 0 else zero
                    top[channels + c] = given[c] if which[c] == 1 else zero
                    bottom[c] = given[c] if which[c] == 2 else zero
                    bottom[channels + c] = given[c] if which[c] == 3 else zero
            if width % 2:
                for row in range(2 * i, 2 * i + 2):
                    end = start + (row + 1) * width * channels
                    d_x[end - channels : end] = 0
