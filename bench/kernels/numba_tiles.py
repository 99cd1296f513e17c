"""Matrix products in bf16 by Intel's AMX, for numba, and vectors of pairs of bf16 numbers.

AMX has eight registers of 16 rows of 64 bytes, the tiles. `multiply_tiles` adds a product of (16, 32) and (32, 16)
numbers in bf16 to (16, 16) numbers in fp32. The right factor is stored in pairs: row r, 32 bits at column n, holds the
numbers (2r, n) and (2r + 1, n). Tiles belong to a thread, which calls `configure_tiles` first and `release_tiles` at
the end.

Arrays are flat, and offsets count elements. Arrays u2 hold bf16, see `numba_bf16`. Bounds are not checked.
"""

import ctypes
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.errors import TypingError
from numba.core.typing.context import BaseContext as TypingContext

from bench.kernels.numba_bf16 import emit_rounding
from bench.kernels.numba_simd import Intrinsic, Vector, intrinsic, split_pieces

ROWS = 16
"""Rows of a tile, and its columns in fp32."""

DEPTH = 32
"""Columns of a tile in bf16: the length of the sums of `multiply_tiles`."""

LAYOUT = np.zeros(64, np.uint8)
"""The argument of `configure_tiles`: eight tiles of full size."""
LAYOUT[0] = 1  # palette
LAYOUT[16:32].view(np.uint16)[:] = 64  # bytes of a row
LAYOUT[48:56] = ROWS

PERMISSION = 158, 0x1023, 18
"""Linux: the number of arch_prctl, ARCH_REQ_XCOMP_PERM, and the component of the tiles' data."""

BYTE, WORD, HALF = ir.IntType(8), ir.IntType(32), ir.IntType(16)
ADDRESS, SIZE = BYTE.as_pointer(), ir.IntType(64)


@lru_cache
def tiles_available() -> bool:
    """Return whether this processor has AMX in bf16 and Linux lets this process use it, which it asks for."""
    features = binding.get_host_cpu_features()
    if not sys.platform.startswith("linux") or not (features.get("amx-tile") and features.get("amx-bf16")):
        return False
    return bool(features.get("avx512f")) and ctypes.CDLL(None).syscall(*PERMISSION) == 0


def require_tiles() -> None:
    """Ask for the use of tiles in this process. Without it, the first instruction would end the process.

    Compiling a function that uses tiles asks for them too; one that comes from a cache does not.

    Raises:
        RuntimeError: they are not available.
    """
    if not tiles_available():
        raise RuntimeError("this processor or operating system has no tiles of AMX in bf16")


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> None:
    require_tiles()  # where there are none, LLVM would end the process
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in args])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), args)


def _address(
    context: BaseContext, builder: ir.IRBuilder, kind: types.Type, array: ir.Value, offset: ir.Value, to: ir.Type
) -> ir.Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), to)


@intrinsic
def configure_tiles(typing: TypingContext, layout: types.Array) -> Intrinsic:
    """Prepare the tiles of this thread; `layout` is LAYOUT."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        _call(builder, "ldtilecfg", _address(context, builder, sig.args[0], args[0], ir.Constant(SIZE, 0), ADDRESS))
        return context.get_dummy_value()

    return types.void(layout), emit


@intrinsic
def release_tiles(typing: TypingContext) -> Intrinsic:
    """Release the tiles of this thread."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), emit


def _memory(instruction: str, tile: types.Type, array: Any) -> Intrinsic | None:
    """Return an intrinsic that moves a tile from or to array[offset:], with `stride` elements between its rows."""
    if not isinstance(tile, types.IntegerLiteral):
        return None
    number = ir.Constant(BYTE, tile.literal_value)

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        place = _address(context, builder, sig.args[1], args[1], args[2], ADDRESS)
        width = ir.Constant(SIZE, array.dtype.bitwidth // 8)
        _call(builder, instruction, number, place, builder.mul(args[3], width))
        return context.get_dummy_value()

    return types.void(tile, array, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def load_tile(
    typing: TypingContext, tile: types.Type, array: types.Array, offset: types.Integer, stride: types.Integer
) -> Intrinsic | None:
    """Load a tile, a constant number, from array[offset:]; its rows are `stride` elements apart."""
    return _memory("tileloadd64", tile, array)


@intrinsic(prefer_literal=True)
def store_tile(
    typing: TypingContext, tile: types.Type, array: types.Array, offset: types.Integer, stride: types.Integer
) -> Intrinsic | None:
    """Store a tile, a constant number, at array[offset:]; its rows are `stride` elements apart."""
    return _memory("tilestored64", tile, array)


@intrinsic(prefer_literal=True)
def multiply_tiles(typing: TypingContext, out: types.Type, left: types.Type, right: types.Type) -> Intrinsic | None:
    """Add the product of two tiles to the tile `out`, all three constant numbers."""
    if not all(isinstance(tile, types.IntegerLiteral) for tile in (out, left, right)):
        return None
    numbers: list[Any] = [out, left, right]
    tiles = [ir.Constant(BYTE, tile.literal_value) for tile in numbers]

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        _call(builder, "tdpbf16ps", *tiles)
        return context.get_dummy_value()

    return types.void(out, left, right), emit


def _places(
    context: BaseContext,
    builder: ir.IRBuilder,
    kind: types.Type,
    array: ir.Value,
    offset: ir.Value,
    item: ir.VectorType,
) -> Any:
    """Return a function from a number of lanes to the address of `item` that many u2 after array[offset]."""

    def at(lanes: int) -> ir.Value:
        place = builder.add(offset, ir.Constant(offset.type, lanes))
        return _address(context, builder, kind, array, place, item.as_pointer())

    return at


@intrinsic
def store_pairs(typing: TypingContext, array: types.Array, offset: types.Integer, a: Vector, b: Vector) -> Intrinsic:
    """Set array[offset : offset + 2 · lanes] = (a₀, b₀, a₁, b₁, …), rounded to bf16."""

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        lanes = ir.VectorType(WORD, a.piece.count)
        at = _places(context, builder, sig.args[0], args[0], args[1], lanes)
        upper = ir.Constant(lanes, [16] * lanes.count)
        pieces = zip(a.starts, *(split_pieces(builder, value) for value in args[2:]), strict=True)
        for start, first, second in pieces:
            low, high = (builder.zext(emit_rounding(builder, piece), lanes) for piece in (first, second))
            builder.store(builder.or_(low, builder.shl(high, upper)), at(2 * start), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, a, a), emit


@intrinsic
def split_pairs(
    typing: TypingContext,
    width: types.UniTuple,
    array: types.Array,
    offset: types.Integer,
    out: types.Array,
    even: types.Integer,
    odd: types.Integer,
) -> Intrinsic:
    """Copy the pairs of L lanes at array[offset:]: the first of each to out[even:], the second to out[odd:].

    L is a multiple of 16.
    """
    count = len(width)
    if count % ROWS:
        raise TypingError(f"pairs of {count} lanes: give a multiple of {ROWS}")

    def emit(context: BaseContext, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        words, halves = ir.VectorType(WORD, ROWS), ir.VectorType(HALF, ROWS)
        source = _places(context, builder, sig.args[1], args[1], args[2], words)
        upper = ir.Constant(words, [16] * ROWS)
        targets = [_places(context, builder, sig.args[3], args[3], place, halves) for place in args[4:]]
        for start in range(0, count, ROWS):
            pairs = builder.load(source(2 * start), align=2)
            for target, numbers in zip(targets, (pairs, builder.lshr(pairs, upper)), strict=True):
                builder.store(builder.trunc(numbers, halves), target(start), align=2)
        return context.get_dummy_value()

    return types.void(width, array, types.intp, out, types.intp, types.intp), emit
