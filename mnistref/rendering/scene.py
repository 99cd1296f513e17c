"""Sample a scene: digits, colours, scales, positions, and the ink of the digits. Compiled, in integers only. Pure.

A scale is a multiple of 2⁻²¹, see `mnistref.scales`. `reference.py` is the readable form.
"""

from typing import NamedTuple

import numpy as np

from mnistref.common.numba_jit import compiled
from mnistref.rendering import rng
from mnistref.rendering.resize import Resizer, Scratch, resize, resizer, scratch
from mnistref.scales import SCALE_BITS, scale_units
from mnistref.spec import CLASSES, COLORS, GLYPH, MAX_DIGITS, PATCH, VariantSpec
from mnistref.storage.schema import Arrays

SCALE_STEPS = 1 << 20
"""Number of different scales, evenly spaced from the smallest."""
MAX_TRIES = 10_000
"""Attempts for one digit before the placement of the whole image restarts (never reached by the laws of variants)."""
MAX_RESTARTS = 100
"""Restarts of the placement of one image before it counts as impossible."""
_ONE = np.uint64(1)
_WORD = 64


class IntegerLaw(NamedTuple):
    """A `VariantSpec` as integers. Scales are in units of 2⁻²¹."""

    canvas: int
    digits_low: int
    digits_high: int
    scale_low: int
    scale_span: int
    repeats_low: int
    repeats_high: int
    by_color: int  # 1 if the query is a colour, else 0
    no_query: int  # 1 if there is no query, else 0
    distractors: int
    colors: np.ndarray  # i8 (5, 3)
    jitter: np.ndarray  # u8: thresholds of the colour noise, see `rng.normal_thresholds`
    restarts: int


class Glyphs(NamedTuple):
    """The digits of one split: M digits in the source, n of them in the split."""

    images_t: np.ndarray  # u1 (M, 28, 28), each transposed
    members: np.ndarray  # i8 (n,): indices into the source, sorted by class
    start: np.ndarray  # i8 (11,): start of each class in `members`


class Tools(NamedTuple):
    """Tables and work space, one for each thread."""

    glyph: Resizer
    glyph_scratch: Scratch
    patch: Resizer
    patch_scratch: Scratch
    small: np.ndarray  # u1 (S, S): the resized glyph or patch
    crop: np.ndarray  # u1 (5, 5)
    alpha: np.ndarray  # u1 (H, W): ink of all digits; they never overlap
    ink: np.ndarray  # u8 (H, words): where alpha > 0, as bits, to test boxes
    order: np.ndarray  # i8 (10,)
    stream: np.ndarray  # u8 (9,)


def make_law(variant: VariantSpec, restarts: int = MAX_RESTARTS) -> IntegerLaw:
    """Return the law of a variant as integers, with the largest number of restarts of a placement."""
    low, high = map(scale_units, variant.scales)
    return IntegerLaw(
        canvas=variant.canvas,
        digits_low=variant.digits[0],
        digits_high=variant.digits[1],
        scale_low=low,
        scale_span=high - low,
        repeats_low=variant.repeats[0],
        repeats_high=variant.repeats[1],
        by_color=int(variant.query == "color"),
        no_query=int(not variant.asks),
        distractors=variant.distractors,
        colors=np.array(list(COLORS.values()), np.int64),
        jitter=rng.normal_thresholds(variant.jitter),
        restarts=restarts,
    )


def make_tools(law: IntegerLaw) -> Tools:
    """Return the tables and the work space for a law."""
    canvas = law.canvas
    largest = [max(1, side_of(base, law.scale_low + law.scale_span)) for base in (GLYPH, PATCH)]
    return Tools(
        glyph=resizer(GLYPH, largest[0]),
        glyph_scratch=scratch(GLYPH, largest[0]),
        patch=resizer(PATCH, largest[1]),
        patch_scratch=scratch(PATCH, largest[1]),
        small=np.zeros((largest[0], largest[0]), np.uint8),
        crop=np.zeros((PATCH, PATCH), np.uint8),
        alpha=np.zeros((canvas, canvas), np.uint8),
        ink=np.zeros((canvas, (canvas + _WORD - 1) // _WORD), np.uint64),
        order=np.zeros(CLASSES, np.int64),
        stream=np.zeros(9, np.uint64),
    )


@compiled
def side_of(base: int, scale: int) -> int:
    """Return floor(base · scale), with the scale in units of 2⁻²¹."""
    return (base * scale) >> SCALE_BITS


@compiled
def draw_scale(stream: np.ndarray, law: IntegerLaw) -> int:
    """Return a scale s ~ U(lowest, highest), in units of 2⁻²¹."""
    step: int = rng.below(stream, SCALE_STEPS)
    return law.scale_low + ((law.scale_span * step) >> 20)


@compiled
def jitter_color(stream: np.ndarray, law: IntegerLaw, color: int, rgb: np.ndarray) -> None:
    """Add one N(0, σ) value to all channels of a reference colour, and write the clipped result to `rgb`, u1 (3,)."""
    noise = rng.normal(stream, law.jitter)
    for channel in range(3):
        rgb[channel] = np.uint8(min(max(law.colors[color, channel] + noise, 0), 255))


@compiled
def draw_scene(
    law: IntegerLaw, glyphs: Glyphs, tools: Tools, seed: np.uint64, split: int, index: int, arrays: Arrays, row: int
) -> bool:
    """Fill all fields of image `row` except `image` and `photo`, and leave the ink in `tools.alpha`.

    Returns False, with incomplete fields, if the digits cannot be placed.
    """
    stream = tools.stream
    n, repeated = _draw_classes(law, tools, seed, split, index, arrays.digit_class[row])
    arrays.count[row] = n
    _draw_colors(law, stream, seed, split, index, n, repeated, arrays.digit_class[row], arrays.digit_color[row])
    rng.start(stream, seed, split, index, rng.JITTER)
    for k in range(n):
        jitter_color(stream, law, arrays.digit_color[row, k], arrays.digit_rgb[row, k])
    rng.start(stream, seed, split, index, rng.GLYPHS)
    for k in range(n):
        c = arrays.digit_class[row, k]
        among = rng.below(stream, glyphs.start[c + 1] - glyphs.start[c])
        arrays.digit_source[row, k] = glyphs.members[glyphs.start[c] + among]
    rng.start(stream, seed, split, index, rng.PLACEMENT)
    restarts = 0
    while not _place_digits(law, glyphs, tools, n, arrays, row):
        if restarts == law.restarts:
            return False
        restarts += 1
    _draw_query(law, stream, seed, split, index, n, arrays, row)
    return True


@compiled
def _draw_classes(
    law: IntegerLaw, tools: Tools, seed: np.uint64, split: int, index: int, digit_class: np.ndarray
) -> tuple[int, int]:
    """Draw the number n of digits and their classes, and return n and the class that is repeated, or −1.

    The classes are the first n of a random permutation. If a class is repeated m times, it is the first of the
    permutation and occupies m random slots; the following classes occupy the others.
    """
    stream, order = tools.stream, tools.order
    rng.start(stream, seed, split, index, rng.CLASSES)
    n = law.digits_low + rng.below(stream, law.digits_high - law.digits_low + 1)
    _permute(stream, order, CLASSES, n)
    for k in range(n):
        digit_class[k] = order[k]
    if law.repeats_high == 1:
        return n, -1
    repeated = digit_class[0]
    times = law.repeats_low + rng.below(stream, law.repeats_high - law.repeats_low + 1)
    for k in range(times):
        digit_class[k] = repeated
    for k in range(times, n):
        digit_class[k] = order[k - times + 1]
    for k in range(n):  # shuffle, so that the order of placement does not reveal the repeated class
        j = k + rng.below(stream, n - k)
        digit_class[k], digit_class[j] = digit_class[j], digit_class[k]
    return n, repeated


@compiled
def _permute(stream: np.ndarray, order: np.ndarray, size: int, n: int) -> None:
    """Write the first n entries of a random permutation of 0 … size − 1."""
    for k in range(size):
        order[k] = k
    for k in range(n):
        j = k + rng.below(stream, size - k)
        order[k], order[j] = order[j], order[k]


@compiled
def _draw_colors(
    law: IntegerLaw,
    stream: np.ndarray,
    seed: int,
    split: int,
    index: int,
    n: int,
    repeated: int,
    digit_class: np.ndarray,
    digit_color: np.ndarray,
) -> None:
    """Draw independent uniform colours, again until the image has an eligible question."""
    rng.start(stream, seed, split, index, rng.COLORS)
    while True:
        for k in range(n):
            digit_color[k] = rng.below(stream, law.colors.shape[0])
        if law.by_color == 1:
            fit = False
            for k in range(n):
                fit = fit or _occurrences(digit_color, n, digit_color[k]) == 1
        else:
            fit = True
            for k in range(n):
                for j in range(k):
                    if digit_class[k] == repeated and digit_class[j] == repeated and digit_color[k] == digit_color[j]:
                        fit = False
        if fit:
            return


@compiled
def _occurrences(values: np.ndarray, n: int, value: int) -> int:
    times = 0
    for k in range(n):
        if values[k] == value:
            times += 1
    return times


@compiled
def _place_digits(law: IntegerLaw, glyphs: Glyphs, tools: Tools, n: int, arrays: Arrays, row: int) -> bool:
    """Draw scale and position of each digit until its box has no ink; return False if a digit does not fit."""
    tools.ink[:] = 0
    tools.alpha[:] = 0
    arrays.instance[row] = 0
    for k in range(n):
        for tries in range(MAX_TRIES + 1):
            if tries == MAX_TRIES:
                return False
            scale = draw_scale(tools.stream, law)
            side = side_of(GLYPH, scale)
            y0 = rng.below(tools.stream, law.canvas - side + 1)
            x0 = rng.below(tools.stream, law.canvas - side + 1)
            if not _has_ink(tools.ink, y0, x0, side):
                break
        box = arrays.digit_box[row, k]
        box[0], box[1], box[2], box[3] = y0, x0, y0 + side, x0 + side
        arrays.digit_scale[row, k] = np.float32(scale / (1 << SCALE_BITS))
        resize(tools.glyph, glyphs.images_t[arrays.digit_source[row, k]], side, tools.glyph_scratch, tools.small)
        _put_ink(tools, arrays.instance[row], y0, x0, side, k + 1)
    return True


@compiled
def _has_ink(ink: np.ndarray, y0: int, x0: int, side: int) -> bool:
    first, last = x0 // _WORD, (x0 + side - 1) // _WORD
    head = ~np.uint64(0) << np.uint64(x0 - first * _WORD)
    tail = ~np.uint64(0) >> np.uint64(_WORD - 1 - (x0 + side - 1 - last * _WORD))
    for word in range(first, last + 1):
        mask = ~np.uint64(0)
        if word == first:
            mask &= head
        if word == last:
            mask &= tail
        for y in range(y0, y0 + side):
            if ink[y, word] & mask:
                return True
    return False


@compiled
def _put_ink(tools: Tools, instance: np.ndarray, y0: int, x0: int, side: int, mark: int) -> None:
    small, alpha, ink = tools.small, tools.alpha, tools.ink
    for y in range(side):
        for x in range(side):
            m = small[y, x]
            if m > 0:
                at = x0 + x
                alpha[y0 + y, at] = m
                instance[y0 + y, at] = mark
                ink[y0 + y, at // _WORD] |= _ONE << np.uint64(at % _WORD)


@compiled
def _draw_query(
    law: IntegerLaw, stream: np.ndarray, seed: np.uint64, split: int, index: int, n: int, arrays: Arrays, row: int
) -> None:
    """Draw the image's own query, uniform over the eligible digits."""
    classes, colors, order = arrays.digit_class[row], arrays.digit_color[row], np.empty(MAX_DIGITS, np.int64)
    m = 0
    for k in range(n):
        if law.by_color == 1:
            fit = _occurrences(colors, n, colors[k]) == 1
        else:
            fit = law.repeats_high == 1 or _occurrences(classes, n, classes[k]) > 1
        if fit:
            order[m] = k
            m += 1
    rng.start(stream, seed, split, index, rng.QUERY)
    slot = order[rng.below(stream, m)]
    arrays.query_slot[row] = slot
    arrays.scale[row] = arrays.digit_scale[row, slot]
    if law.no_query == 1:
        arrays.query[row], arrays.label[row] = 0, classes[slot]
        return
    arrays.query[row] = colors[slot] if law.by_color == 1 else classes[slot]
    arrays.label[row] = classes[slot] if law.by_color == 1 else colors[slot]
