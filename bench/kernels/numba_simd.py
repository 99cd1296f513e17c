"""Vectors for numba: values with several lanes that stay in registers, and the few operations that the kernels need.

numba relies on LLVM to vectorise loops, and LLVM does not find a tile of accumulators. Here vectors are explicit, so
nothing depends on the optimiser. The number of lanes is part of the type, so it is passed as `width`, a tuple of that
length. Arrays are flat and contiguous, and `offset` counts elements. Bounds are not checked. `load` and `store` convert
from and to bf16, if that is what an array holds, see `numba_bf16`.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from llvmlite import binding, ir
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

from bench.kernels.numba_bf16 import BITS, computed_in, emit_rounding, emit_widening

intrinsic: Any = _intrinsic  # the decorated function has another signature than the one passed in

Intrinsic: TypeAlias = tuple[Signature, Callable[..., ir.Value]]
"""What an intrinsic returns: the types of its arguments and of its value, and the function that emits its code."""

PIECE = 8
"""Lanes of one LLVM vector. LLVM would round a length of 24 up to 32, so a longer vector is an array of such pieces."""

WIDE_PIECE = 16 if binding.get_host_cpu_features().get("avx512f") else PIECE
"""Lanes of one LLVM vector in fp32, if they divide the length: with AVX-512, a register holds 16 such numbers."""


def piece_size(is_single: bool, lanes: int) -> int:
    """Return how many lanes a piece of a vector has, in fp32 (`is_single`) or fp64."""
    return WIDE_PIECE if is_single and lanes % WIDE_PIECE == 0 else PIECE


class Vector(types.Type):
    """A numba type: `lanes` numbers of a floating-point `dtype`; `lanes` is a multiple of PIECE.

    Attributes:
        dtype: the type of a number.
        lanes: how many there are.
        piece: the LLVM type of one piece.
    """

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        if not isinstance(dtype, types.Float):
            raise TypingError(f"a vector of {dtype}: give a floating-point type")
        if lanes % PIECE:
            raise TypingError(f"a vector of {lanes} lanes: give a multiple of {PIECE}")
        self.dtype, self.lanes = dtype, lanes
        is_single = dtype.bitwidth == 32
        size = piece_size(is_single, lanes)
        self.piece = ir.VectorType(ir.FloatType() if is_single else ir.DoubleType(), size)
        super().__init__(f"vector({dtype}, {lanes}, {size})")

    @property
    def starts(self) -> range:
        """The first lane of each piece."""
        return range(0, self.lanes, self.piece.count)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, vector: Vector) -> None:
        models.PrimitiveModel.__init__(self, manager, vector, ir.ArrayType(vector.piece, len(vector.starts)))


def split_pieces(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    """Return the pieces of a vector."""
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def join_pieces(builder: ir.IRBuilder, pieces: list[ir.Value]) -> ir.Value:
    """Return the vector of these pieces."""
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
        pairs = zip(*(split_pieces(builder, value) for value in args), strict=True)
        return join_pieces(builder, [getattr(builder, emitted)(*pair) for pair in pairs])


for _name, _emitted in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _register(getattr(operator, _name), _emitted)


def _addresses(
    context: BaseContext, builder: ir.IRBuilder, kind: types.Type, array: ir.Value, offset: ir.Value, vector: Vector
) -> list[ir.Value]:
    """Return the address of each piece in memory."""
    data = context.make_array(kind)(context, builder, array).data
    offsets = [builder.add(offset, ir.Constant(offset.type, k)) for k in vector.starts]
    piece = ir.VectorType(data.type.pointee, vector.piece.count)
    return [builder.bitcast(builder.gep(data, [offset]), piece.as_pointer()) for offset in offsets]


@intrinsic
def load(typing: TypingContext, width: types.UniTuple, array: types.Array, offset: types.Integer) -> Intrinsic:
    """Return array[offset : offset + len(width)] as a vector."""
    vector = Vector(computed_in(array.dtype), len(width))

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        places, stored = _addresses(context, builder, sig.args[1], args[1], args[2], vector), sig.args[1].dtype
        pieces = [builder.load(place, align=stored.bitwidth // 8) for place in places]
        return join_pieces(builder, [emit_widening(builder, piece) for piece in pieces] if stored == BITS else pieces)

    return vector(width, array, types.intp), emit


@intrinsic
def store(typing: TypingContext, array: types.Array, offset: types.Integer, value: Vector) -> Intrinsic:
    """Set array[offset : offset + lanes] = value."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        places, stored = _addresses(context, builder, sig.args[0], args[0], args[1], value), sig.args[0].dtype
        for place, piece in zip(places, split_pieces(builder, args[2]), strict=True):
            rounded = emit_rounding(builder, piece) if stored == BITS else piece
            builder.store(rounded, place, align=stored.bitwidth // 8)
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
        return join_pieces(builder, [_splat(builder, vector.piece, args[1])] * len(vector.starts))

    return vector(width, value), emit


@intrinsic
def spread(typing: TypingContext, width: types.UniTuple, array: types.Array, offset: types.Integer) -> Intrinsic:
    """Return a vector with array[offset] in every lane. Unlike indexing, it does not check for negative `offset`."""
    vector = Vector(array.dtype, len(width))

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        data = context.make_array(sig.args[1])(context, builder, args[1]).data
        value = builder.load(builder.gep(data, [args[2]]))
        return join_pieces(builder, [_splat(builder, vector.piece, value)] * len(vector.starts))

    return vector(width, array, types.intp), emit


def emit_fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return a · b + c, fused if the machine can. On other machines `llvm.fma` would call a library."""
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}{kind.element.intrinsic_name}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic
def fma(typing: TypingContext, a: Vector, b: Vector, c: Vector) -> Intrinsic:
    """Return a · b + c."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        pieces = zip(*(split_pieces(builder, value) for value in args), strict=True)
        return join_pieces(builder, [emit_fma(builder, *three) for three in pieces])

    return c(c, c, c), emit


def constant_piece(kind: ir.VectorType, value: float) -> ir.Constant:
    """Return a piece with the same number in every lane."""
    return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)


@intrinsic
def where_positive(typing: TypingContext, x: Vector, value: Vector) -> Intrinsic:
    """Return value where x > 0 or x is NaN, and 0 elsewhere."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        zero = constant_piece(sig.args[0].piece, 0.0)
        pairs = zip(*(split_pieces(builder, part) for part in args), strict=True)
        return join_pieces(builder, [builder.select(builder.fcmp_ordered("<=", a, zero), zero, b) for a, b in pairs])

    return value(x, value), emit


def _part(builder: ir.IRBuilder, value: ir.Value, lanes: list[int], other: ir.Value | None = None) -> ir.Value:
    """Return the given lanes of a piece, or of two concatenated pieces."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined) if other is None else other, mask)


def _fold_to_piece(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a piece of PIECE lanes with the same total as a vector."""
    parts = [
        _part(builder, piece, list(range(start, start + PIECE)))
        for piece in split_pieces(builder, value)
        for start in range(0, piece.type.count, PIECE)
    ]
    return functools.reduce(builder.fadd, parts)


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
    """Add the totals of four vectors to out[offset : offset + 4], faster than with separate sums."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        a, b, c, d = (_fold_to_piece(builder, value) for value in args[2:])

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
