"""Vectors for numba: values of so many lanes that stay in registers, with the few operations that kernels here need.

numba leaves it to LLVM to find vectors in loops, and LLVM does not find a tile of accumulators. Here the vectors are
written down, so nothing depends on what a compiler recognises; LLVM splits them into whatever registers there are.
A lane count is a type, so it is handed over as `width`, a tuple of that length. Arrays are flat and contiguous;
`at` counts elements. Nothing here checks bounds.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, register_model

intrinsic: Any = _intrinsic  # what it makes is called with other arguments than what it is given


class Vector(types.Type):
    """`lanes` numbers of a floating-point `dtype`."""

    def __init__(self, dtype: types.Float, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"vector({dtype}, {lanes})")


def _llvm(vector: Vector) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType(), vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm(vector))


def _register(operation: Callable, emitted: str) -> None:
    """vector ∘ vector, lane by lane."""

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(operation, Vector, Vector)
    def _lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return getattr(builder, emitted)(*args)


for _operation, _emitted in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register(_operation, _emitted)


def _address(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, at: ir.Value, to: ir.Type) -> ir.Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), to.as_pointer())


@intrinsic
def load(typing: Any, width: Any, array: Any, at: Any) -> Any:
    """array[at : at + len(width)] as a vector."""
    vector = Vector(array.dtype, len(width))

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        pointer = _address(context, builder, sig.args[1], args[1], args[2], _llvm(vector))
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(width, array, types.intp), emit


@intrinsic
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """array[at : at + lanes] = value."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        pointer = _address(context, builder, sig.args[0], args[0], args[1], _llvm(sig.args[2]))
        builder.store(args[2], pointer, align=sig.args[2].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


def _splat(builder: ir.IRBuilder, kind: ir.VectorType, value: ir.Value) -> ir.Value:
    lanes = ir.VectorType(ir.IntType(32), kind.count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(lanes, None))


@intrinsic
def splat(typing: Any, width: Any, value: Any) -> Any:
    """The same number in every lane."""
    vector = Vector(value, len(width))

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return _splat(builder, _llvm(vector), args[1])

    return vector(width, value), emit


def _fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a · b + c, in one operation where the machine has it: `llvm.fma` would call a library where it has not."""
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}{kind.element.intrinsic_name}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c; each of a and b a vector, or a number for every lane."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        a, b = (
            value if isinstance(kind, Vector) else _splat(builder, args[2].type, value)
            for kind, value in zip(sig.args[:2], args[:2], strict=True)
        )
        return _fma(builder, a, b, args[2])

    return c(a, b, c), emit


@intrinsic
def total(typing: Any, value: Any) -> Any:
    """The sum of the lanes, always in the same order. Their number is a power of two."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        folded, lanes = args[0], sig.args[0].lanes
        while lanes > 1:
            lanes //= 2
            low, high = (
                builder.shuffle_vector(
                    folded,
                    ir.Constant(folded.type, ir.Undefined),
                    ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(start, start + lanes))),
                )
                for start in (0, lanes)
            )
            folded = builder.fadd(low, high)
        return builder.extract_element(folded, ir.Constant(ir.IntType(32), 0))

    return value.dtype(value), emit


def _constant(kind: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


def _clamp(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """x within ±bound. NaN stays NaN."""
    for comparison, limit in ((">", bound), ("<", -bound)):
        edge = _constant(x.type, limit)
        x = builder.select(builder.fcmp_ordered(comparison, x, edge), edge, x)
    return x


def _exponential(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(p, s) with s a power of two and exp(x) = s · p + s, so that exp(x) − 1 = s · p + (s − 1) loses nothing near 0.

    x = k ln 2 + r with |r| ≤ ½ ln 2, s = 2ᵏ, and p = exp(r) − 1 by its Taylor series, whose first term left out is
    below half a unit in the last place. Adding 1½ · 2^(mantissa bits) rounds to an integer, left in the low bits.
    """
    kind = x.type
    single = isinstance(kind.element, ir.FloatType)
    bits, mantissa, terms = (32, 23, 7) if single else (64, 52, 14)
    # ln 2 in two parts: k times the first is exact for every k in question.
    high = 0.693145751953125 if single else 0.6931471803691238
    low = math.log(2) - high if single else 1.9082149292705877e-10
    magic = _constant(kind, 1.5 * 2.0**mantissa)
    shifted = _fma(builder, x, _constant(kind, 1 / math.log(2)), magic)
    k = builder.fsub(shifted, magic)
    r = _fma(builder, k, _constant(kind, -low), _fma(builder, k, _constant(kind, -high), x))
    series = _constant(kind, 1 / math.factorial(terms))
    for n in range(terms - 1, 1, -1):
        series = _fma(builder, series, r, _constant(kind, 1 / math.factorial(n)))
    p = _fma(builder, builder.fmul(r, r), series, r)
    whole = ir.VectorType(ir.IntType(bits), kind.count)
    one = (1 << (bits - mantissa - 2)) - 1  # the exponent of 1.0
    exponent, offset = (
        ir.Constant(whole, [ir.Constant(whole.element, number)] * kind.count) for number in (mantissa, one << mantissa)
    )
    s = builder.add(builder.shl(builder.bitcast(shifted, whole), exponent), offset)
    return p, builder.bitcast(s, kind)


@intrinsic
def sigmoid(typing: Any, x: Any) -> Any:
    """1 / (1 + exp(−x))."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        kind = args[0].type
        bound = 87.0 if isinstance(kind.element, ir.FloatType) else 708.0  # where exp is still a normal number
        p, s = _exponential(builder, _clamp(builder, builder.fneg(args[0]), bound))
        one = _constant(kind, 1.0)
        return builder.fdiv(one, builder.fadd(one, _fma(builder, s, p, s)))

    return x(x), emit


@intrinsic
def tanh(typing: Any, x: Any) -> Any:
    """(exp(2x) − 1) / (exp(2x) + 1), to the last places also near 0."""

    def emit(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        kind = args[0].type
        bound = 20.0 if isinstance(kind.element, ir.FloatType) else 40.0  # beyond it tanh rounds to ±1
        p, s = _exponential(builder, _clamp(builder, builder.fadd(args[0], args[0]), bound))
        less_one = _fma(builder, s, p, builder.fsub(s, _constant(kind, 1.0)))
        return builder.fdiv(less_one, builder.fadd(less_one, _constant(kind, 2.0)))

    return x(x), emit
