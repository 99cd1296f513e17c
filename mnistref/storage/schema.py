"""Fields of a shard: dtype, shape, range and meaning. Pure.

Writers, readers, checks and documentation derive from this table. Legend: N images, H height, W width. Digit slots are
numbered 0 … 8 in the order of placement.
"""

from collections import namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnistref.common.errors import DataProblemError
from mnistref.spec import CLASSES, COLORS, MAX_DIGITS, MAX_SCALE

FORMAT_VERSION = 1
SHARD_IMAGES = 1000
"""Images per shard; the last shard of a split may have fewer."""


@dataclass(frozen=True)
class Field:
    """One field of a shard.

    Attributes:
        shape: shape of one image's value; "H" and "W" stand for the canvas.
        low: smallest valid value.
        high: largest valid value.
        meaning: description in the card of the data set.
        packed: stored compressed; otherwise contiguous, so that the field can be memory-mapped.
    """

    dtype: str
    shape: tuple[str | int, ...]
    low: float
    high: float
    meaning: str
    packed: bool = False

    def full_shape(self, images: int, canvas: int) -> tuple[int, ...]:
        """Return the shape of the field for this number of images and canvas."""
        return (images, *(canvas if isinstance(s, str) else s for s in self.shape))

    @property
    def shape_text(self) -> str:
        """The shape for people, for example (N, H, W, 3)."""
        return f"({', '.join(map(str, ('N', *self.shape)))}{',' if not self.shape else ''})"


_D = (MAX_DIGITS,)
_I32 = 2**31 - 1

FIELDS: dict[str, Field] = {
    "image": Field("u1", ("H", "W", 3), 0, 255, "RGB"),
    "instance": Field("u1", ("H", "W"), 0, MAX_DIGITS, "0 background; k = ink of digit slot k−1", packed=True),
    "count": Field("u1", (), 1, MAX_DIGITS, "digits in the image"),
    "digit_class": Field("i1", _D, -1, CLASSES - 1, "0–9; −1 where there is no digit"),
    "digit_color": Field(
        "i1", _D, -1, len(COLORS) - 1, f"{', '.join(f'{i} {c}' for i, c in enumerate(COLORS))}; −1 where there is none"
    ),
    "digit_scale": Field("f4", _D, 0, MAX_SCALE, "scale of the 28-px glyph; 0 where there is none"),
    "digit_box": Field("i2", (MAX_DIGITS, 4), 0, 2**15 - 1, "y0, x0, y1, x1 of the glyph's square, half-open; else 0"),
    "digit_rgb": Field("u1", (MAX_DIGITS, 3), 0, 255, "colour after the jitter; 0 where there is none"),
    "digit_source": Field("i4", _D, -1, _I32, "index into the digit source; −1 where there is none"),
    "photo": Field("i4", (), -1, _I32, "index into dataset.json's photos; −1 where there is none"),
    "query_slot": Field("u1", (), 0, MAX_DIGITS - 1, "the image's own query: which digit slot"),
    "query": Field("i1", (), 0, CLASSES - 1, "the own query: a digit class; in mbginv and miniinv a colour; in mone 0"),
    "label": Field("i1", (), 0, CLASSES - 1, "its answer: a colour; in mbginv, miniinv and mone a digit class"),
    "scale": Field("f4", (), 0, MAX_SCALE, "scale of the queried digit"),
}

if TYPE_CHECKING:  # type checkers cannot evaluate the namedtuple below

    class Arrays:
        """One array for each field."""

        def __init__(self, **fields: np.ndarray) -> None: ...
        def __iter__(self) -> Iterator[np.ndarray]: ...
        def __getattr__(self, name: str) -> np.ndarray: ...

else:
    Arrays = namedtuple("Arrays", list(FIELDS))
    """One array for each field, as the compiled renderer fills it. numba supports a plain namedtuple."""


def empty(images: int, canvas: int) -> Arrays:
    """Return arrays for this number of images, filled with the values of empty slots."""
    arrays = Arrays(**{name: np.empty(f.full_shape(images, canvas), f.dtype) for name, f in FIELDS.items()})
    clear(arrays)
    return arrays


def clear(arrays: Arrays) -> None:
    """Fill arrays with the values of empty slots."""
    for field, array in zip(FIELDS.values(), arrays, strict=True):
        array.fill(-1 if field.low == -1 else 0)


def require_valid(arrays: Mapping[str, np.ndarray], images: int, canvas: int, name: str) -> None:
    """Raise DataProblemError unless every field exists with its dtype, shape and range.

    Args:
        arrays: field name → array.
        images: expected number of images.
        canvas: expected side of the images, in pixels.
        name: name of the file, for the message.
    """
    if set(arrays) != set(FIELDS):
        raise DataProblemError(f"{name}: fields differ from the format: {sorted(set(arrays) ^ set(FIELDS))}")
    for key in FIELDS:
        require_layout(key, arrays[key].dtype, shape=arrays[key].shape, images=images, canvas=canvas, name=name)
        require_range(key, arrays[key], name)


def require_range(key: str, array: np.ndarray, name: str) -> None:
    """Raise DataProblemError if an array has values outside the range of its field."""
    field = FIELDS[key]
    if array.size and not (field.low <= array.min() and array.max() <= field.high):
        raise DataProblemError(f"{name}: {key} has values outside {field.low:g} … {field.high:g}")


def require_layout(key: str, dtype: np.dtype, shape: tuple[int, ...], images: int, canvas: int, name: str) -> None:
    """Raise DataProblemError unless a field has its dtype and shape. No data are read."""
    field = FIELDS[key]
    want = field.full_shape(images, canvas)
    if dtype != np.dtype(field.dtype) or tuple(shape) != want:
        raise DataProblemError(f"{name}: {key} is {dtype} {tuple(shape)}, the format requires {field.dtype} {want}")
