"""Vectors for numba: values with several lanes that stay in registers, and the few operations that the kernels need.

numba relies on LLVM to vectorise loops, and LLVM does not find a tile of accumulators. Here vectors are explicit, so
nothing depends on the optimiser. The number of lanes is part of the type, so it is passed as `width`, a tuple of that
length. Arrays are flat and contiguous, and `offset` counts elements. Bounds are not checked.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.datamodel.manager import DataModelManager
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.context import BaseContext as TypingContext
from numba.core.typing.templates import AbstractTemplate, Signature, infer_global, signature
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, register_model

intrinsic: Any = _intrinsic  # the decorated function has another signature than the one passed in

Intrinsic: TypeAlias = tuple[Signature, Callable[..., ir.Value]]
"""What an intrinsic returns: the types of its arguments and of its value, and the function that emits its code."""

PIECE = 8
"""Lanes of one LLVM vector. LLVM would round a length of 24 up to 32, so a longer vector is an array of such pieces."""


class Vector(types.Type):
    """A numba type: `lanes` numbers of a floating-point `dtype`; `lanes` is a multiple of PIECE."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        if not isinstance(dtype, types.Float):
            raise TypingError(f"a vector of {dtype}: give a floating-point type")
        if lanes % PIECE:
            raise TypingError(f"a vector of {lanes} lanes: give a multiple of {PIECE}")
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"vector({dtype}, {lanes})")

    @property
    def piece(self) -> ir.VectorType:
        """The LLVM type of one piece."""
        return ir.VectorType(ir.FloatType() if self.dtype.bitwidth == 32 else ir.DoubleType(), PIECE)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, vector: Vector) -> None:
        models.PrimitiveModel.__init__(self, manager, vector, ir.ArrayType(vector.piece, vector.lanes // PIECE))


def _pieces(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def _join_pieces(builder: ir.IRBuilder, pieces: list[ir.Value]) -> ir.Value:
    value = ir.Constant(ir.ArrayType(pieces[0].type, len(pieces)), ir.Undefined)
    for k, piece in enumerate(pieces):
        value = builder.insert_value(value, piece, k)
    return value


def _register(operation: Callable[..., object], emitted: str) -> None:
    """Register an operation of two vectors, lane by lane."""

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args: Sequence[types.Type], kws: Mapping[str, types.Type]) -> Signature | None:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                found: Signature = signature(args[0], *args)
                return found
            return None

    @lower_builtin(operation, Vector, Vector)
    def _lower(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        pairs = zip(*(_pieces(builder, value) for value in args), strict=True)
        return _join_pieces(builder, [getattr(builder, emitted)(*pair) for pair in pairs])


for _name, _emitted in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _register(getattr(operator, _name), _emitted)


def _addresses(
    context: BaseContext, builder: ir.IRBuilder, kind: types.Type, array: ir.Value, offset: ir.Value, vector: Vector
) -> list[ir.Value]:
    """Return the address of each piece in memory."""
    data = context.make_array(kind)(context, builder, array).data
    offsets = [builder.add(offset, ir.Constant(offset.type, k)) for k in range(0, vector.lanes, PIECE)]
    return [builder.bitcast(builder.gep(data, [offset]), vector.piece.as_pointer()) for offset in offsets]


@intrinsic
def load(typing: TypingContext, width: types.UniTuple, array: types.Array, offset: types.Integer) -> Intrinsic:
    """Return array[offset : offset + len(width)] as a vector."""
    vector = Vector(array.dtype, len(width))

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        places = _addresses(context, builder, sig.args[1], args[1], args[2], vector)
        return _join_pieces(builder, [builder.load(place, align=vector.dtype.bitwidth // 8) for place in places])

    return vector(width, array, types.intp), emit


@intrinsic
def store(typing: TypingContext, array: types.Array, offset: types.Integer, value: Vector) -> Intrinsic:
    """Set array[offset : offset + lanes] = value."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        places = _addresses(context, builder, sig.args[0], args[0], args[1], value)
        for place, piece in zip(places, _pieces(builder, args[2]), strict=True):
            builder.store(piece, place, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


def _splat(builder: ir.IRBuilder, kind: ir.VectorType, value: ir.Value) -> ir.Value:
    lanes = ir.VectorType(ir.IntType(32), kind.count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), ir.Constant(lanes, None))


@intrinsic
def splat(typing: TypingContext, width: types.UniTuple, value: types.Float) -> Intrinsic:
    """Return a vector with the same number in every lane."""
    vector = Vector(value, len(width))

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        return _join_pieces(builder, [_splat(builder, vector.piece, args[1])] * (vector.lanes // PIECE))

    return vector(width, value), emit


@intrinsic
def spread(typing: TypingContext, width: types.UniTuple, array: types.Array, offset: types.Integer) -> Intrinsic:
    """Return a vector with array[offset] in every lane. Unlike indexing, it does not check for negative `offset`."""
    vector = Vector(array.dtype, len(width))

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        value = builder.load(builder.gep(data, [args[2]]))
        return _join_pieces(builder, [_splat(builder, vector.piece, value)] * (vector.lanes // PIECE))

    return vector(width, array, types.intp), emit


def _fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return a · b + c, fused if the machine can. On other machines `llvm.fma` would call a library."""
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}{kind.element.intrinsic_name}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def fma(typing: TypingContext, a: Vector, b: Vector, c: Vector) -> Intrinsic:
    """Return a · b + c."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        pieces = zip(*(_pieces(builder, value) for value in args), strict=True)
        return _join_pieces(builder, [_fma(builder, *three) for three in pieces])

    return c(c, c, c), emit


@intrinsic
def where_positive(typing: TypingContext, x: Vector, value: Vector) -> Intrinsic:
    """Return value where x > 0 or x is NaN, and 0 elsewhere."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        zero, pairs = _constant(sig.args[0].piece, 0.0), zip(*(_pieces(builder, part) for part in args), strict=True)
        return _join_pieces(builder, [builder.select(builder.fcmp_ordered("<=", a, zero), zero, b) for a, b in pairs])

    return value(x, value), emit


def _part(builder: ir.IRBuilder, value: ir.Value, lanes: list[int], other: ir.Value | None = None) -> ir.Value:
    """Return the given lanes of a piece, or of two concatenated pieces."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined) if other is None else other, mask)


@intrinsic
def add_totals(
    typing: TypingContext,
    out: types.Array,
    offset: types.Integer,
    a: Vector,
    b: Vector,
    c: Vector,
    d: Vector,
) -> Intrinsic:
    """Add the totals of four vectors of PIECE lanes to out[offset : offset + 4], faster than with separate sums."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        a, b, c, d = (_pieces(builder, value)[0] for value in args[2:])

        def folded(x: ir.Value, y: ir.Value, lanes: list[int]) -> ir.Value:
            return builder.fadd(_part(builder, x, lanes, y), _part(builder, x, [k + 2 for k in lanes], y))

        within = [0, 8, 1, 9, 4, 12, 5, 13]  # x and y by turns, in each half of the register
        halves = folded(folded(a, b, within), folded(c, d, within), [0, 1, 8, 9, 4, 5, 12, 13])
        sums = builder.fadd(*(_part(builder, halves, list(range(start, start + 4))) for start in (0, 4)))
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), sums.type.as_pointer())
        align = sig.args[2].dtype.bitwidth // 8
        builder.store(builder.fadd(builder.load(place, align=align), sums), place, align=align)
        return context.get_dummy_value()

    return types.void(out, types.intp, a, b, c, d), emit


@intrinsic
def transpose_block(
    typing: TypingContext,
    source: types.Array,
    offset: types.Integer,
    stride: types.Integer,
    out: types.Array,
    to: types.Integer,
    step: types.Integer,
) -> Intrinsic:
    """Set out[to + c · step + r] = source[offset + r · stride + c] for r, c < PIECE: transpose a square block."""
    vector = Vector(source.dtype, PIECE)

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        source, offset, stride, out, to, step = args

        def places(kind: types.Type, array: ir.Value, first: ir.Value, between: ir.Value) -> list[ir.Value]:
            starts = (builder.add(first, builder.mul(between, ir.Constant(between.type, k))) for k in range(PIECE))
            return [_addresses(context, builder, kind, array, start, vector)[0] for start in starts]

        align = vector.dtype.bitwidth // 8
        rows = [builder.load(place, align=align) for place in places(sig.args[0], source, offset, stride)]
        for half in (1, 2, 4):  # swap the off-diagonal parts of all 2 · half squares
            for k in (k for k in range(PIECE) if not k & half):
                upper, lower = rows[k], rows[k + half]
                first = [lane if not lane & half else PIECE + lane - half for lane in range(PIECE)]
                second = [lane + half if not lane & half else PIECE + lane for lane in range(PIECE)]
                rows[k], rows[k + half] = (_part(builder, upper, lanes, lower) for lanes in (first, second))
        for row, place in zip(rows, places(sig.args[3], out, to, step), strict=True):
            builder.store(row, place, align=align)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, out, types.intp, types.intp), emit


def _constant(kind: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


def _clamp(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """Return x, clamped to ±bound. NaN stays NaN."""
    for comparison, limit in ((">", bound), ("<", -bound)):
        edge = _constant(x.type, limit)
        x = builder.select(builder.fcmp_ordered(comparison, x, edge), edge, x)
    return x


def _exponential(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return (p, s), s a power of two, with exp(x) = s · p + s. exp(x) − 1 = s · p + (s − 1) is accurate near 0.

    x = k ln 2 + r with |r| ≤ ½ ln 2, s = 2ᵏ, and p = exp(r) − 1 by its Taylor series, whose first omitted term is below
    half a unit in the last place. Adding 1½ · 2^(mantissa bits) rounds to an integer, in the low bits.
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


def _sigmoid(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    bound = 87.0 if isinstance(x.type.element, ir.FloatType) else 708.0  # where exp is still a normal number
    p, s = _exponential(builder, _clamp(builder, builder.fneg(x), bound))
    one = _constant(x.type, 1.0)
    return builder.fdiv(one, builder.fadd(one, _fma(builder, s, p, s)))


def _tanh(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    bound = 20.0 if isinstance(x.type.element, ir.FloatType) else 40.0  # beyond it tanh rounds to ±1
    p, s = _exponential(builder, _clamp(builder, builder.fadd(x, x), bound))
    less_one = _fma(builder, s, p, builder.fsub(s, _constant(x.type, 1.0)))
    return builder.fdiv(less_one, builder.fadd(less_one, _constant(x.type, 2.0)))


def _by_piece(function: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Callable[..., ir.Value]:
    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        return _join_pieces(builder, [function(builder, piece) for piece in _pieces(builder, args[0])])

    return emit


@intrinsic
def sigmoid(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return 1 / (1 + exp(−x))."""
    return x(x), _by_piece(_sigmoid)


@intrinsic
def tanh(typing: TypingContext, x: Vector) -> Intrinsic:
    """Return (exp(2x) − 1) / (exp(2x) + 1), accurate to the last places also near 0."""
    return x(x), _by_piece(_tanh)
