"""Numbers in bf16 for numba, which has no such type: an array u2 holds their bits, and arithmetic is in fp32.

A number in bf16 is the upper half of the same number in fp32.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.base import BaseContext
from numba.core.typing.context import BaseContext as TypingContext
from numba.core.typing.templates import Signature
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # the decorated function has another signature than the one passed in

BITS = types.uint16
"""The type of the elements of an array that holds numbers in bf16."""


def computed_in(dtype: types.Type) -> types.Type:
    """Return the type that the elements of an array have in registers: fp32 if the array holds bf16."""
    return types.float32 if dtype == BITS else dtype


def _like(kind: ir.Type, scalar: ir.Type) -> ir.Type:
    """Return a type with these scalars, and with as many lanes as `kind`, if that is a vector."""
    return ir.VectorType(scalar, kind.count) if isinstance(kind, ir.VectorType) else scalar


def _constant(kind: ir.Type, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def emit_widening(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """Return numbers in bf16 as fp32. `bits` is one number or a vector."""
    wide = _like(bits.type, ir.IntType(32))
    shifted = builder.shl(builder.zext(bits, wide), _constant(wide, 16))
    return builder.bitcast(shifted, _like(bits.type, ir.FloatType()))


def emit_rounding(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return numbers in fp32 as bf16, rounded to nearest, ties to even. `value` is one number or a vector."""
    wide = _like(value.type, ir.IntType(32))
    bits = builder.bitcast(value, wide)
    odd = builder.and_(builder.lshr(bits, _constant(wide, 16)), _constant(wide, 1))
    rounded = builder.add(bits, builder.add(odd, _constant(wide, 0x7FFF)))
    # Rounding could carry NaN over into zero.
    kept = builder.select(builder.fcmp_unordered("uno", value, value), _constant(wide, 0x7FC00000), rounded)
    return builder.trunc(builder.lshr(kept, _constant(wide, 16)), _like(value.type, ir.IntType(16)))


@intrinsic
def number(typing: TypingContext, array: types.Array, offset: types.Integer) -> tuple[Signature, Any]:
    """Return array[offset] of a flat array, in fp32 if the array holds bf16. Bounds are not checked."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        value = builder.load(builder.gep(data, [args[1]]))
        return emit_widening(builder, value) if sig.args[0].dtype == BITS else value

    return computed_in(array.dtype)(array, types.intp), emit


@intrinsic
def put(typing: TypingContext, array: types.Array, offset: types.Integer, value: types.Float) -> tuple[Signature, Any]:
    """Set array[offset] = value in a flat array, rounded if the array holds bf16. Bounds are not checked."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        place = builder.gep(context.make_array(sig.args[0])(context, builder, args[0]).data, [args[1]])
        builder.store(emit_rounding(builder, args[2]) if sig.args[0].dtype == BITS else args[2], place)
        return context.get_dummy_value()

    return types.void(array, types.intp, computed_in(array.dtype)), emit
