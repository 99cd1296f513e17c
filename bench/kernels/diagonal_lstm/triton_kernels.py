"""The diagonal LSTM in Triton: a program computes one direction over one image, and loops over its diagonals.

Row i of the map is row i of the tiles, and handles column d − i at step d. This is done by addressing, so no map is
skewed or mirrored. h and c stay in registers. Shapes: B images, m × n cells, C channels of x, t units, p rows of the
readout; their padded sizes, powers of two, are ROWS, INPUTS, UNITS and SHOWN. Gates are in the order o, f, i, g.

The right direction (`right` = 1) is the left one on the mirrored map. It skips the last row of the map, because no
output uses it; zeros are stored there. Maps are stored as images, (B, m, n, ·); values that a direction saves for
itself are in its own, mirrored, columns.

The four gates are the columns of one product for each operand: (ROWS, ·) · (·, 4 · UNITS). For the rounding of factors
and for `EMULATED`, see `triton_dot`.
"""

import triton
import triton.language as tl

from bench.kernels.diagonal_lstm.triton_dot import dot, factor, gate_rows


@triton.jit
def _tanh(x, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """Return tanh. It is one instruction, accurate to 11 bits, if products have 8 bits."""
    if PRODUCTS == "bf16" and not EMULATED:
        result = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)
    else:
        result = 2 * tl.sigmoid(2 * x) - 1
    return result


@triton.jit
def _sigmoid(x, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    ROUGH: tl.constexpr = PRODUCTS == "bf16" and not EMULATED
    return 0.5 * _tanh(0.5 * x, PRODUCTS, EMULATED) + 0.5 if ROUGH else tl.sigmoid(x)


@triton.jit
def _weights(kernel, first, inputs, stride, t: tl.constexpr, INPUTS: tl.constexpr, UNITS: tl.constexpr):
    """Return the columns of a kernel for `inputs` numbers, transposed: (INPUTS, 4 · UNITS), padded with zeros."""
    k = tl.arange(0, INPUTS)[:, None]
    row, is_row = gate_rows(t, UNITS)
    return tl.load(kernel + row[None, :] * stride + first + k, (k < inputs) & is_row[None, :], 0.0)


@triton.jit
def _state_weights(kernel_h, t: tl.constexpr, UNITS: tl.constexpr):
    """Return K^h in its memory order: (4 · UNITS, 2 · UNITS), padded with zeros.

    With it, one product gives the gradients of both states. It is wider than high at 16 and 32 rows: the compiler
    distributes the columns of such a product over the warps, while with UNITS columns all warps may compute the same.
    """
    s = tl.arange(0, 2 * UNITS)[None, :]
    row, is_row = gate_rows(t, UNITS)
    return tl.load(
        kernel_h + row[:, None] * 2 * t + (s // UNITS) * t + s % UNITS, is_row[:, None] & (s % UNITS < t), 0.0
    )


@triton.jit
def _readout(readout, right, t: tl.constexpr, p: tl.constexpr, UNITS: tl.constexpr, SHOWN: tl.constexpr):
    """Return the readout of a direction, transposed: (UNITS, SHOWN), padded with zeros."""
    u, q = tl.arange(0, UNITS)[:, None], tl.arange(0, SHOWN)[None, :]
    return tl.load(readout + (right * p + q) * t + u, (u < t) & (q < p), 0.0)


@triton.jit
def _bias(bias, t: tl.constexpr, UNITS: tl.constexpr):
    """Return the bias (1, 4 · UNITS), padded with zeros."""
    row, is_row = gate_rows(t, UNITS)
    return tl.load(bias + row, is_row, 0.0).to(tl.float32)[None, :]


@triton.jit
def _cells(maps, i, j, n, width: tl.constexpr, WIDTH: tl.constexpr, there):
    """Return cells (i, j) of a map (m, n, width) as (ROWS, WIDTH), with zeros where `there` is false."""
    k = tl.arange(0, WIDTH)[None, :]
    return tl.load(maps + (i * n + j) * width + k, there & (k < width), 0.0)


@triton.jit
def _write(maps, i, j, n, values, width: tl.constexpr, WIDTH: tl.constexpr, to):
    """Write values (ROWS, WIDTH) to cells (i, j) of a map (m, n, width), where `to` is true."""
    k = tl.arange(0, WIDTH)[None, :]
    tl.store(maps + (i * n + j) * width + k, values.to(maps.dtype.element_ty), to & (k < width))


@triton.jit
def _gates(x, above, left, bias, kx, ka, kl, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """Return o, f, i, g (Eq. 8), (ROWS, UNITS) each. The state to the left is added last: it is available last."""
    UNITS: tl.constexpr = kl.shape[0]
    total = tl.zeros([x.shape[0], 4 * UNITS], tl.float32) + bias
    total = dot(total, x, kx, PRODUCTS, EMULATED)
    total = dot(total, above, ka, PRODUCTS, EMULATED)
    total = dot(total, left, kl, PRODUCTS, EMULATED)
    parts = tl.permute(tl.reshape(total, [x.shape[0], 2, 2, UNITS]), [0, 3, 1, 2])
    o_and_i, f_and_g = tl.split(parts)
    o, i = tl.split(o_and_i)
    f, g = tl.split(f_and_g)
    return (
        _sigmoid(o, PRODUCTS, EMULATED),
        _sigmoid(f, PRODUCTS, EMULATED),
        _sigmoid(i, PRODUCTS, EMULATED),
        _tanh(g, PRODUCTS, EMULATED),
    )


@triton.jit
def _together(o, f, i, g):
    """Return the gates' gradients, concatenated: (ROWS, UNITS) each → (ROWS, 4 · UNITS)."""
    parts = tl.permute(tl.join(tl.join(o, i), tl.join(f, g)), [0, 2, 3, 1])
    return tl.reshape(parts, [o.shape[0], 4 * o.shape[1]])


@triton.jit(do_not_specialize=["batch", "m", "n"])
def forward(
    x,
    bias,
    kernel_x,
    kernel_h,
    readout,
    out,
    states,
    memories,
    batch,
    m,
    n,
    C: tl.constexpr,
    t: tl.constexpr,
    p: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    UNITS: tl.constexpr,
    SHOWN: tl.constexpr,
    KEEP: tl.constexpr,
    PRODUCTS: tl.constexpr,
    EMULATED: tl.constexpr,
):
    """Compute out (2, B, p, m, n), and if KEEP, h and c (2, B, m, n, t).

    Inputs are x (B, m, n, C), bias (2, B, 4t), both kernels and the readout.
    """
    image, right = tl.program_id(0).to(tl.int64), tl.program_id(1)
    side = right * batch + image
    x += image * m * n * C
    bias += side * 4 * t
    out += side * p * m * n
    states += side * m * n * t
    memories += side * m * n * t
    kernel_x += right * 4 * t * C
    kernel_h += right * 8 * t * t
    kx = factor(_weights(kernel_x, 0, C, C, t, INPUTS, UNITS), PRODUCTS, EMULATED)
    ka = factor(_weights(kernel_h, 0, t, 2 * t, t, UNITS, UNITS), PRODUCTS, EMULATED)
    kl = factor(_weights(kernel_h, t, t, 2 * t, t, UNITS, UNITS), PRODUCTS, EMULATED)
    biases = _bias(bias, t, UNITS)
    shown = factor(_readout(readout, right, t, p, UNITS, SHOWN), PRODUCTS, EMULATED)

    i = tl.arange(0, ROWS)[:, None]
    q = tl.arange(0, SHOWN)[None, :]
    row_above = tl.maximum(i - 1, 0) + tl.zeros([ROWS, UNITS], tl.int32)
    row_out = tl.where(i + right == m, 0, i + right)  # the inactive row writes the zeros of the top row
    start, turn = right * (n - 1), 1 - 2 * right  # column j of the direction is column start + turn · j of the image
    seen = factor(tl.zeros([ROWS, UNITS], x.dtype.element_ty), PRODUCTS, EMULATED)  # h as it is multiplied
    c = tl.zeros([ROWS, UNITS], tl.float32)
    coming = _cells(x, i, start - turn * i, n, C, INPUTS, (i < m) & (i == 0))
    for d in range(m + n - 1):
        j = d - i
        on_map = (i < m) & (j >= 0) & (j < n)
        inside = on_map & (i < m - right)
        here = factor(coming, PRODUCTS, EMULATED)
        coming = _cells(x, i, start + turn * (j + 1), n, C, INPUTS, (i < m) & (j >= -1) & (j < n - 1))
        above = tl.where(i > 0, tl.gather(seen, row_above, 0), 0.0).to(seen.dtype)
        o, f, a, g = _gates(here, above, seen, biases, kx, ka, kl, PRODUCTS, EMULATED)
        c = tl.where(inside, f * c + a * g, 0.0)
        h = (o * _tanh(c, PRODUCTS, EMULATED)).to(x.dtype.element_ty)
        seen = factor(h, PRODUCTS, EMULATED)
        y = dot(tl.zeros([ROWS, SHOWN], tl.float32), seen, shown, PRODUCTS, EMULATED)
        place = (q * m + row_out) * n + start + turn * j
        tl.store(out + place, y.to(out.dtype.element_ty), on_map & (q < p))
        if KEEP:
            _write(states, i, j, n, h, t, UNITS, on_map)
            _write(memories, i, j, n, c, t, UNITS, on_map)


@triton.jit(do_not_specialize=["batch", "m", "n"])
def backward(
    x,
    bias,
    kernel_x,
    kernel_h,
    readout,
    grad,
    states,
    memories,
    d_x,
    d_gates,
    batch,
    m,
    n,
    C: tl.constexpr,
    t: tl.constexpr,
    p: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    UNITS: tl.constexpr,
    SHOWN: tl.constexpr,
    PRODUCTS: tl.constexpr,
    EMULATED: tl.constexpr,
):
    """Compute d_x (2, B, m, n, C) and d_gates (2, B, m, n, 4t) from grad (2, B, p, m, n) and the saved h and c.

    The gates are recomputed. The gradient of a state comes from three sides: from the output, from the cell to its
    right (row i of the following step), and from the cell below (row i + 1 of the following step).
    """
    image, right = tl.program_id(0).to(tl.int64), tl.program_id(1)
    side = right * batch + image
    x += image * m * n * C
    bias += side * 4 * t
    grad += side * p * m * n
    states += side * m * n * t
    memories += side * m * n * t
    d_x += side * m * n * C
    d_gates += side * m * n * 4 * t
    kernel_x += right * 4 * t * C
    kernel_h += right * 8 * t * t
    kx = factor(_weights(kernel_x, 0, C, C, t, INPUTS, UNITS), PRODUCTS, EMULATED)
    ka = factor(_weights(kernel_h, 0, t, 2 * t, t, UNITS, UNITS), PRODUCTS, EMULATED)
    kl = factor(_weights(kernel_h, t, t, 2 * t, t, UNITS, UNITS), PRODUCTS, EMULATED)
    kh = factor(_state_weights(kernel_h, t, UNITS), PRODUCTS, EMULATED)
    biases = _bias(bias, t, UNITS)
    shown = tl.trans(factor(_readout(readout, right, t, p, UNITS, SHOWN), PRODUCTS, EMULATED))

    i = tl.arange(0, ROWS)[:, None]
    q = tl.arange(0, SHOWN)[None, :]
    column, is_column = gate_rows(t, UNITS)
    runs = i < m - right
    row_below = tl.minimum(i + 1, ROWS - 1) + tl.zeros([ROWS, UNITS], tl.int32)
    start, turn = right * (n - 1), 1 - 2 * right
    d_h = tl.zeros([ROWS, UNITS], tl.float32)
    d_c = tl.zeros([ROWS, UNITS], tl.float32)
    last = m + n - 2 - i
    c = _cells(memories, i, last, n, t, UNITS, runs & (last < n)).to(tl.float32)
    for step in range(m + n - 1):
        j = m + n - 2 - step - i
        on_map = (i < m) & (j >= 0) & (j < n)
        inside = on_map & runs
        has_left = runs & (j >= 1) & (j <= n)
        here = factor(_cells(x, i, start + turn * j, n, C, INPUTS, inside), PRODUCTS, EMULATED)
        above = factor(_cells(states, i - 1, j, n, t, UNITS, inside & (i > 0)), PRODUCTS, EMULATED)
        left = factor(_cells(states, i, j - 1, n, t, UNITS, has_left), PRODUCTS, EMULATED)
        before = _cells(memories, i, j - 1, n, t, UNITS, has_left).to(tl.float32)
        place = (q * m + i + right) * n + start + turn * j
        given = factor(tl.load(grad + place, inside & (q < p), 0.0), PRODUCTS, EMULATED)
        o, f, a, g = _gates(here, above, left, biases, kx, ka, kl, PRODUCTS, EMULATED)
        bent = _tanh(c, PRODUCTS, EMULATED)
        d_h = dot(d_h, given, shown, PRODUCTS, EMULATED)
        d_c += d_h * o * (1 - bent * bent)
        d_o = tl.where(inside, d_h * bent * o * (1 - o), 0.0)
        d_f = tl.where(inside, d_c * before * f * (1 - f), 0.0)
        d_i = tl.where(inside, d_c * g * a * (1 - a), 0.0)
        d_g = tl.where(inside, d_c * a * (1 - g * g), 0.0)
        d_all = _together(d_o, d_f, d_i, d_g).to(d_gates.dtype.element_ty)
        tl.store(d_gates + (i * n + j) * 4 * t + column[None, :], d_all, on_map & is_column[None, :])
        d_seen = factor(d_all, PRODUCTS, EMULATED)
        d_here = dot(tl.zeros([ROWS, INPUTS], tl.float32), d_seen, tl.trans(kx), PRODUCTS, EMULATED)
        _write(d_x, i, start + turn * j, n, d_here, C, INPUTS, on_map)
        d_states = dot(tl.zeros([ROWS, 2 * UNITS], tl.float32), d_seen, kh, PRODUCTS, EMULATED)
        d_above, d_left = tl.split(tl.permute(tl.reshape(d_states, [ROWS, 2, UNITS]), [0, 2, 1]))
        d_h = d_left + tl.where(i < ROWS - 1, tl.gather(d_above, row_below, 0), 0.0)
        d_c = tl.where(inside, d_c * f, 0.0)
        c = before
