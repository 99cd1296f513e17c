"""The gradients of all weights of the diagonal LSTM in one Triton launch: one program per direction and image.

The right direction (`right` = 1) is the left one on the mirrored map, one row higher, see `triton_kernels`. A program
reads the image, and the output of `triton_kernels.forward` and `triton_kernels.backward`, without making shifted or
mirrored copies. `reference.weight_gradients` is the reference.

Shapes: B images, m × n cells, C channels of x, t units, p rows of the readout; their padded sizes, powers of two, are
INPUTS, UNITS and SHOWN. Gates are in the order o, f, i, g. CELLS cells are multiplied at once.
"""

import triton
import triton.language as tl

from bench.kernels.diagonal_lstm.triton_dot import dot, factor, gate_rows


@triton.jit(do_not_specialize=["batch", "m", "n"])
def weight_gradients(
    x,
    states,
    d_gates,
    grad,
    d_bias,
    parts,
    batch,
    m,
    n,
    C: tl.constexpr,
    t: tl.constexpr,
    p: tl.constexpr,
    CELLS: tl.constexpr,
    INPUTS: tl.constexpr,
    UNITS: tl.constexpr,
    SHOWN: tl.constexpr,
    PRODUCTS: tl.constexpr,
    EMULATED: tl.constexpr,
):
    """Write the gradients of all weights in fp32, from x, h (2, B, m, n, t), d_gates (2, B, m, n, 4t) and grad.

    The outputs are d_bias (2, B, 4t) and parts (2, B, 4t · C + 4t · 2t + p · t). For each image, parts holds its part
    of the gradients of kernel_x (4t, C), kernel_h (4t, 2t) and readout (p, t), one after the other. Their sum over B is
    the gradient.
    """
    image, right = tl.program_id(0).to(tl.int64), tl.program_id(1)
    side = right * batch + image
    x += image * m * n * C
    states += side * m * n * t
    d_gates += side * m * n * 4 * t
    grad += side * p * m * n
    start, turn = right * (n - 1), 1 - 2 * right  # column j of the direction is column start + turn · j of the image

    row, is_row = gate_rows(t, UNITS)
    k, u, q = tl.arange(0, INPUTS)[None, :], tl.arange(0, UNITS)[None, :], tl.arange(0, SHOWN)[None, :]
    of_x = tl.zeros([4 * UNITS, INPUTS], tl.float32)
    of_above = tl.zeros([4 * UNITS, UNITS], tl.float32)
    of_left = tl.zeros([4 * UNITS, UNITS], tl.float32)
    of_bias = tl.zeros([4 * UNITS], tl.float32)
    of_readout = tl.zeros([SHOWN, UNITS], tl.float32)
    for first in range(0, m * n, CELLS):
        cell = first + tl.arange(0, CELLS)[:, None]
        i, j = cell // n, cell % n
        there, column = cell < m * n, start + turn * j
        gates = tl.load(d_gates + cell * 4 * t + row[None, :], there & is_row[None, :], 0.0)
        here = tl.load(x + (i * n + column) * C + k, there & (k < C), 0.0)
        above = tl.load(states + (cell - n) * t + u, there & (i > 0) & (u < t), 0.0)
        left = tl.load(states + (cell - 1) * t + u, there & (j > 0) & (u < t), 0.0)
        own = tl.load(states + cell * t + u, there & (u < t), 0.0)
        given = tl.load(grad + (q * m + i + right) * n + column, there & (i + right < m) & (q < p), 0.0)
        of_bias += tl.sum(gates.to(tl.float32), 0)
        turned = tl.trans(factor(gates, PRODUCTS, EMULATED))
        of_x = dot(of_x, turned, factor(here, PRODUCTS, EMULATED), PRODUCTS, EMULATED)
        of_above = dot(of_above, turned, factor(above, PRODUCTS, EMULATED), PRODUCTS, EMULATED)
        of_left = dot(of_left, turned, factor(left, PRODUCTS, EMULATED), PRODUCTS, EMULATED)
        shown = tl.trans(factor(given, PRODUCTS, EMULATED))
        of_readout = dot(of_readout, shown, factor(own, PRODUCTS, EMULATED), PRODUCTS, EMULATED)

    tl.store(d_bias + side * 4 * t + row, of_bias, is_row)
    parts += side * (4 * t * (C + 2 * t) + p * t)
    tl.store(parts + row[:, None] * C + k, of_x, is_row[:, None] & (k < C))
    parts += 4 * t * C
    tl.store(parts + row[:, None] * 2 * t + u, of_above, is_row[:, None] & (u < t))
    tl.store(parts + row[:, None] * 2 * t + t + u, of_left, is_row[:, None] & (u < t))
    parts += 8 * t * t
    w = tl.arange(0, SHOWN)[:, None]
    tl.store(parts + w * t + u, of_readout, (w < p) & (u < t))
