"""Matrix products of the Triton kernels: padding, rounding and multiplication of their factors.

`PRODUCTS` is the precision: "bf16", "tf32" or "bf16x6" (fp32 as six products of bf16). Sums are always fp32.

In Triton's interpreter (`EMULATED`), products of bf16 are wrong, so the rounded factors are multiplied in fp32 there.
"""

import triton
import triton.language as tl


@triton.jit
def factor(x, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """Return a factor, rounded to the precision of products. Round each factor once: several products may use it.

    A tensor core truncates the last 13 bits of an fp32 factor, with twice the error of rounding. Adding 0x1000 first
    rounds to nearest, ties away from zero. NaN is excluded: the sum would turn the bits 0x7FFFFFFF into -0.
    """
    if PRODUCTS == "bf16":
        rounded = x.to(tl.bfloat16)
        result = rounded.to(tl.float32) if EMULATED else rounded
    elif PRODUCTS == "tf32":
        bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
        result = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)
    else:
        result = x
    return result


@triton.jit
def dot(total, a, b, PRODUCTS: tl.constexpr, EMULATED: tl.constexpr):
    """Return total + a · b for factors (see `factor`) a (M, K) and b (K, N), in fp32: (M, N)."""
    if EMULATED:
        result = tl.dot(a, b, total, input_precision="ieee")
    elif PRODUCTS == "bf16":
        result = tl.dot(a, b, total)
    else:
        result = tl.dot(a, b, total, input_precision=PRODUCTS)
    return result


@triton.jit
def gate_rows(t: tl.constexpr, UNITS: tl.constexpr):
    """Return the row of a kernel for each of 4 · UNITS padded rows, and whether it exists.

    Padded row gate · UNITS + u is row gate · t + u if u < t, and does not exist otherwise. Without padding, rows are
    consecutive in a form that the compiler recognises, so that it loads and stores them in vectors.
    """
    r = tl.arange(0, 4 * UNITS)
    if t == UNITS:
        rows, are_there = r, r < 4 * t
    else:
        rows, are_there = (r // UNITS) * t + r % UNITS, r % UNITS < t
    return rows, are_there
