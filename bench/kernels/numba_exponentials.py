"""Sigmoid and tanh of the vectors of `numba_simd`, in plain arithmetic: numba has no vectors of exponentials."""

import math
from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.errors import TypingError
from numba.core.typing.context import BaseContext as TypingContext
from numba.core.typing.templates import Signature

from bench.kernels.numba_simd import (
    Intrinsic,
    Vector,
    constant_piece,
    emit_fma,
    intrinsic,
    join_pieces,
    split_pieces,
)


def _clamp(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """Return x, clamped to ±bound. NaN stays NaN."""
    for comparison, limit in ((">", bound), ("<", -bound)):
        edge = constant_piece(x.type, limit)
        x = builder.select(builder.fcmp_ordered(comparison, x, edge), edge, x)
    return x


def _exponential(builder: ir.IRBuilder, x: ir.Value, quick: bool = False) -> tuple[ir.Value, ir.Value]:
    """Return (p, s), s a power of two, with exp(x) = s · p + s. exp(x) − 1 = s · p + (s − 1) is accurate near 0.

    If `quick`, the Taylor series has four terms, and the relative error of p is below 2e-4.

    x = k ln 2 + r with |r| ≤ ½ ln 2, s = 2ᵏ, and p = exp(r) − 1 by its Taylor series. Unless `quick`, its first omitted
    term is below half a unit in the last place. Adding 1½ · 2^(mantissa bits) rounds to an integer, in the low bits.
    """
    kind = x.type
    single = isinstance(kind.element, ir.FloatType)
    bits, mantissa, terms = (32, 23, 4 if quick else 7) if single else (64, 52, 14)
    # ln 2 in two parts: k times the first is exact for every k in question.
    high = 0.693145751953125 if single else 0.6931471803691238
    low = math.log(2) - high if single else 1.9082149292705877e-10
    magic = constant_piece(kind, 1.5 * 2.0**mantissa)
    shifted = emit_fma(builder, x, constant_piece(kind, 1 / math.log(2)), magic)
    k = builder.fsub(shifted, magic)
    r = emit_fma(builder, k, constant_piece(kind, -low), emit_fma(builder, k, constant_piece(kind, -high), x))
    series = constant_piece(kind, 1 / math.factorial(terms))
    for n in range(terms - 1, 1, -1):
        series = emit_fma(builder, series, r, constant_piece(kind, 1 / math.factorial(n)))
    p = emit_fma(builder, builder.fmul(r, r), series, r)
    whole = ir.VectorType(ir.IntType(bits), kind.count)
    one = (1 << (bits - mantissa - 2)) - 1  # the exponent of 1.0
    exponent, offset = (
        ir.Constant(whole, [ir.Constant(whole.element, number)] * kind.count) for number in (mantissa, one << mantissa)
    )
    s = builder.add(builder.shl(builder.bitcast(shifted, whole), exponent), offset)
    return p, builder.bitcast(s, kind)


def _sigmoid(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    bound = 87.0 if isinstance(x.type.element, ir.FloatType) else 708.0  # where exp is still a normal number
    p, s = _exponential(builder, _clamp(builder, builder.fneg(x), bound))
    one = constant_piece(x.type, 1.0)
    return builder.fdiv(one, builder.fadd(one, emit_fma(builder, s, p, s)))


def _tanh(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    bound = 20.0 if isinstance(x.type.element, ir.FloatType) else 40.0  # beyond it tanh rounds to ±1
    p, s = _exponential(builder, _clamp(builder, builder.fadd(x, x), bound))
    less_one = emit_fma(builder, s, p, builder.fsub(s, constant_piece(x.type, 1.0)))
    return builder.fdiv(less_one, builder.fadd(less_one, constant_piece(x.type, 2.0)))


def _reciprocal(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return 1 / x with a relative error below 2⁻¹⁴, for a piece of 16 numbers in fp32 on a machine with AVX-512."""
    mask = ir.Constant(ir.IntType(16), 0xFFFF)
    kind = ir.FunctionType(x.type, [x.type, x.type, mask.type])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.rcp14.ps.512")
    return builder.call(function, [x, x, mask])


def _quick_sigmoid(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    p, s = _exponential(builder, _clamp(builder, builder.fneg(x), 87.0), quick=True)
    return _reciprocal(builder, builder.fadd(constant_piece(x.type, 1.0), emit_fma(builder, s, p, s)))


def _quick_tanh(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    p, s = _exponential(builder, _clamp(builder, builder.fadd(x, x), 20.0), quick=True)
    less_one = emit_fma(builder, s, p, builder.fsub(s, constant_piece(x.type, 1.0)))
    return builder.fmul(less_one, _reciprocal(builder, builder.fadd(less_one, constant_piece(x.type, 2.0))))


def _by_piece(function: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Callable[..., ir.Value]:
    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        return join_pieces(builder, [function(builder, piece) for piece in split_pieces(builder, args[0])])

    return emit


@intrinsic
def sigmoid(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return 1 / (1 + exp(−x))."""
    return x(x), _by_piece(_sigmoid)


@intrinsic
def tanh(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return (exp(2x) − 1) / (exp(2x) + 1), accurate to the last places also near 0."""
    return x(x), _by_piece(_tanh)


@intrinsic
def quick_sigmoid(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return `sigmoid` with a relative error below 3e-4: more accurate than bf16. Needs AVX-512 and pieces of 16."""
    _require_wide_pieces(x)
    return x(x), _by_piece(_quick_sigmoid)


@intrinsic
def quick_tanh(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return `tanh` with a relative error below 3e-4, also near 0, see `quick_sigmoid`."""
    _require_wide_pieces(x)
    return x(x), _by_piece(_quick_tanh)


def _require_wide_pieces(x: Vector) -> None:
    if x.piece.count != 16:
        raise TypingError(f"pieces of {x.piece.count} lanes: give fp32, a multiple of 16 lanes, and AVX-512")
