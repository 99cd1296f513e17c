"""The diagonal LSTM in Triton: a program is one direction over one image, and goes over its diagonals by itself.

Row i of the map is row i of the tiles, and handles column d − i at step d: by addressing, so no map is ever skewed or
mirrored. h and c stay in registers. Shapes: B images, m × n cells, C channels of x, t units, p rows of the readout;
their padded sizes, powers of two, are ROWS, INPUTS, UNITS and SHOWN. Gates in the order o, f, i, g.

The right direction (`right` = 1) is the left one on the mirrored map. It runs without the map's last row, as none
shows it; what is stored there is zero. Maps are given image-like, (B, m, n, ·); what a direction keeps for itself lies
in its own, mirrored, columns.

Products of bf16 are wrong in Triton's interpreter: there EMULATED rounds the factors and multiplies in fp32, as it does
for all other products.
"""

import triton
import triton.language as tl


@triton.jit
def _tanh(x, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """One instruction, to 11 bits, where products are of 8."""
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
def _product(total, a, b, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """total + a · b, in fp32."""
    if PRODUCTS == "bf16":
        rough_a, rough_b = a.to(tl.bfloat16), b.to(tl.bfloat16)
        if EMULATED:
            result = tl.dot(rough_a.to(tl.float32), rough_b.to(tl.float32), total, input_precision="ieee")
        else:
            result = tl.dot(rough_a, rough_b, total)
    else:
        result = tl.dot(a, b, total, input_precision="ieee" if EMULATED else PRODUCTS)
    return result


@triton.jit
def _weights(kernel, gate, first, inputs, stride, t: tl.constexpr, INPUTS: tl.constexpr, UNITS: tl.constexpr):
    """The part of a gate's kernel that meets `inputs` numbers, transposed: (INPUTS, UNITS), zero where nothing is."""
    k, u = tl.arange(0, INPUTS)[:, None], tl.arange(0, UNITS)[None, :]
    return tl.load(kernel + (gate * t + u) * stride + first + k, (k < inputs) & (u < t), 0.0)


@triton.jit
def _four_weights(kernel, first, inputs, stride, t: tl.constexpr, INPUTS: tl.constexpr, UNITS: tl.constexpr):
    """Of the four gates."""
    return (
        _weights(kernel, 0, first, inputs, stride, t, INPUTS, UNITS),
        _weights(kernel, 1, first, inputs, stride, t, INPUTS, UNITS),
        _weights(kernel, 2, first, inputs, stride, t, INPUTS, UNITS),
        _weights(kernel, 3, first, inputs, stride, t, INPUTS, UNITS),
    )


@triton.jit
def _bias(bias, gate, t: tl.constexpr, UNITS: tl.constexpr):
    """(1, UNITS)"""
    u = tl.arange(0, UNITS)[None, :]
    return tl.load(bias + gate * t + u, u < t, 0.0).to(tl.float32)


@triton.jit
def _four_biases(bias, t: tl.constexpr, UNITS: tl.constexpr):
    return _bias(bias, 0, t, UNITS), _bias(bias, 1, t, UNITS), _bias(bias, 2, t, UNITS), _bias(bias, 3, t, UNITS)


@triton.jit
def _cells(maps, i, j, n, width: tl.constexpr, WIDTH: tl.constexpr, there):
    """Cells (i, j) of a map (m, n, width) → (ROWS, WIDTH), zero where nothing is `there`."""
    k = tl.arange(0, WIDTH)[None, :]
    return tl.load(maps + (i * n + j) * width + k, there & (k < width), 0.0)


@triton.jit
def _write(
    maps, i, j, n, values, first: tl.constexpr, width: tl.constexpr, used: tl.constexpr, WIDTH: tl.constexpr, to
):
    """Values (ROWS, WIDTH), of which `used` columns count, to columns from `first` of a map (m, n, width)."""
    k = tl.arange(0, WIDTH)[None, :]
    tl.store(maps + (i * n + j) * width + first + k, values.to(maps.dtype.element_ty), to & (k < used))


@triton.jit
def _sum(x, above, left, bias, kx, ka, kl, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """What a gate is made of, (ROWS, UNITS). The state to the left comes last, as it is the last to be there."""
    total = tl.zeros([x.shape[0], kx.shape[1]], tl.float32) + bias
    total = _product(total, x, kx, PRODUCTS, EMULATED)
    total = _product(total, above, ka, PRODUCTS, EMULATED)
    return _product(total, left, kl, PRODUCTS, EMULATED)


@triton.jit
def _gates(x, above, left, biases, kx, ka, kl, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """o, f, i, g (Eq. 8)."""
    o = _sum(x, above, left, biases[0], kx[0], ka[0], kl[0], PRODUCTS, EMULATED)
    f = _sum(x, above, left, biases[1], kx[1], ka[1], kl[1], PRODUCTS, EMULATED)
    i = _sum(x, above, left, biases[2], kx[2], ka[2], kl[2], PRODUCTS, EMULATED)
    g = _sum(x, above, left, biases[3], kx[3], ka[3], kl[3], PRODUCTS, EMULATED)
    return (
        _sigmoid(o, PRODUCTS, EMULATED),
        _sigmoid(f, PRODUCTS, EMULATED),
        _sigmoid(i, PRODUCTS, EMULATED),
        _tanh(g, PRODUCTS, EMULATED),
    )


@triton.jit
def _gradient(gates, weights, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """Of what met the weights (INPUTS, UNITS) of the four gates: (ROWS, INPUTS)."""
    total = tl.zeros([gates[0].shape[0], weights[0].shape[0]], tl.float32)
    total = _product(total, gates[0], tl.trans(weights[0]), PRODUCTS, EMULATED)
    total = _product(total, gates[1], tl.trans(weights[1]), PRODUCTS, EMULATED)
    total = _product(total, gates[2], tl.trans(weights[2]), PRODUCTS, EMULATED)
    return _product(total, gates[3], tl.trans(weights[3]), PRODUCTS, EMULATED)


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
    """x (B, m, n, C), bias (2, B, 4t), kernels, readout → out (2, B, p, m, n); if KEEP, h and c, (2, B, m, n, t)."""
    image, right = tl.program_id(0).to(tl.int64), tl.program_id(1)
    side = right * batch + image
    x += image * m * n * C
    bias += side * 4 * t
    out += side * p * m * n
    states += side * m * n * t
    memories += side * m * n * t
    kernel_x += right * 4 * t * C
    kernel_h += right * 8 * t * t
    x_weights = _four_weights(kernel_x, 0, C, C, t, INPUTS, UNITS)
    above_weights = _four_weights(kernel_h, 0, t, 2 * t, t, UNITS, UNITS)
    left_weights = _four_weights(kernel_h, t, t, 2 * t, t, UNITS, UNITS)
    biases = _four_biases(bias, t, UNITS)
    shown = _weights(readout, right, 0, t, t, p, UNITS, SHOWN)

    i = tl.arange(0, ROWS)[:, None]
    q = tl.arange(0, SHOWN)[None, :]
    row_above = tl.maximum(i - 1, 0) + tl.zeros([ROWS, UNITS], tl.int32)
    row_out = tl.where(i + right == m, 0, i + right)  # the row that does not run writes the zeros of the top row
    start, turn = right * (n - 1), 1 - 2 * right  # column j of the direction is column start + turn · j of the image
    h = tl.zeros([ROWS, UNITS], x.dtype.element_ty)
    c = tl.zeros([ROWS, UNITS], tl.float32)
    coming = _cells(x, i, start - turn * i, n, C, INPUTS, (i < m) & (i == 0))
    for d in range(m + n - 1):
        j = d - i
        on_map = (i < m) & (j >= 0) & (j < n)
        inside = on_map & (i < m - right)
        here = coming
        coming = _cells(x, i, start + turn * (j + 1), n, C, INPUTS, (i < m) & (j >= -1) & (j < n - 1))
        above = tl.where(i > 0, tl.gather(h, row_above, 0), 0.0).to(h.dtype)
        o, f, a, g = _gates(here, above, h, biases, x_weights, above_weights, left_weights, PRODUCTS, EMULATED)
        c = tl.where(inside, f * c + a * g, 0.0)
        h = (o * _tanh(c, PRODUCTS, EMULATED)).to(h.dtype)
        y = _product(tl.zeros([ROWS, SHOWN], tl.float32), h, shown, PRODUCTS, EMULATED)
        place = (q * m + row_out) * n + start + turn * j
        tl.store(out + place, y.to(out.dtype.element_ty), on_map & (q < p))
        if KEEP:
            _write(states, i, j, n, h, 0, t, t, UNITS, on_map)
            _write(memories, i, j, n, c, 0, t, t, UNITS, on_map)


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
    """From grad (2, B, p, m, n) and what `forward` kept: d_x (2, B, m, n, C), d_gates (2, B, m, n, 4t), both written.

    The gates are computed again. The gradient of a state comes from three sides: from what it showed, from the cell to
    its right (row i of the step after), and from the cell below it (row i + 1 of the step after).
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
    x_weights = _four_weights(kernel_x, 0, C, C, t, INPUTS, UNITS)
    above_weights = _four_weights(kernel_h, 0, t, 2 * t, t, UNITS, UNITS)
    left_weights = _four_weights(kernel_h, t, t, 2 * t, t, UNITS, UNITS)
    biases = _four_biases(bias, t, UNITS)
    shown = tl.trans(_weights(readout, right, 0, t, t, p, UNITS, SHOWN))

    i = tl.arange(0, ROWS)[:, None]
    q = tl.arange(0, SHOWN)[None, :]
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
        here = _cells(x, i, start + turn * j, n, C, INPUTS, inside)
        above = _cells(states, i - 1, j, n, t, UNITS, inside & (i > 0))
        left = _cells(states, i, j - 1, n, t, UNITS, has_left)
        before = _cells(memories, i, j - 1, n, t, UNITS, has_left).to(tl.float32)
        place = (q * m + i + right) * n + start + turn * j
        given = tl.load(grad + place, inside & (q < p), 0.0)
        o, f, a, g = _gates(here, above, left, biases, x_weights, above_weights, left_weights, PRODUCTS, EMULATED)
        bent = _tanh(c, PRODUCTS, EMULATED)
        d_h = _product(d_h, given, shown, PRODUCTS, EMULATED)
        d_c += d_h * o * (1 - bent * bent)
        d_o = tl.where(inside, d_h * bent * o * (1 - o), 0.0)
        d_f = tl.where(inside, d_c * before * f * (1 - f), 0.0)
        d_i = tl.where(inside, d_c * g * a * (1 - a), 0.0)
        d_g = tl.where(inside, d_c * a * (1 - g * g), 0.0)
        _write(d_gates, i, j, n, d_o, 0, 4 * t, t, UNITS, on_map)
        _write(d_gates, i, j, n, d_f, t, 4 * t, t, UNITS, on_map)
        _write(d_gates, i, j, n, d_i, 2 * t, 4 * t, t, UNITS, on_map)
        _write(d_gates, i, j, n, d_g, 3 * t, 4 * t, t, UNITS, on_map)
        gates = (d_o, d_f, d_i, d_g)
        d_above = _gradient(gates, above_weights, PRODUCTS, EMULATED)
        d_left = _gradient(gates, left_weights, PRODUCTS, EMULATED)
        d_here = _gradient(gates, x_weights, PRODUCTS, EMULATED)
        _write(d_x, i, start + turn * j, n, d_here, 0, C, C, INPUTS, on_map)
        d_h = d_left + tl.where(i < ROWS - 1, tl.gather(d_above, row_below, 0), 0.0)
        d_c = tl.where(inside, d_c * f, 0.0)
        c = before
