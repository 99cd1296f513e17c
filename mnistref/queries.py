"""Questions: which digits of an image can be queried, and the (image, digit) pairs of a split. Pure.

Legend: N images, D = 9 digit slots, T questions (image, query, label).
"""

from typing import NamedTuple

import numpy as np

from mnistref.spec import VariantSpec


class Triples(NamedTuple):
    """T questions: `image` i8 (T,), `slot` i8 (T,), `query` i8 (T,), `label` i8 (T,).

    Of a variant without a query, there is one for each image, and `query` is 0.
    """

    image: np.ndarray
    slot: np.ndarray
    query: np.ndarray
    label: np.ndarray


def eligible(variant: VariantSpec, digit_class: np.ndarray, digit_color: np.ndarray) -> np.ndarray:
    """Return which digits can be queried.

    If the query is a colour, a digit is eligible when no other digit of the image has its colour. If the queried class
    is repeated, the digits of the repeated class are eligible. Otherwise every digit is.

    Args:
        variant: the sampling law.
        digit_class: classes, i1 (N, D), −1 for an empty slot.
        digit_color: colours, i1 (N, D), −1 for an empty slot.

    Returns:
        A mask, bool (N, D).
    """
    occupied: np.ndarray = digit_class >= 0
    if variant.query == "color":
        unique: np.ndarray = occupied & (_occurrences(digit_color) == 1)
        return unique
    if variant.repeats[1] > 1:
        repeated: np.ndarray = occupied & (_occurrences(digit_class) > 1)
        return repeated
    return occupied


def triples(
    variant: VariantSpec, units: str, digit_class: np.ndarray, digit_color: np.ndarray, query_slot: np.ndarray
) -> Triples:
    """Return the questions of a split, ordered by image.

    Args:
        variant: the sampling law.
        units: one of `mnistref.spec.UNITS`.
        digit_class: classes, i1 (N, D), −1 for an empty slot.
        digit_color: colours, i1 (N, D), −1 for an empty slot.
        query_slot: digit slot of each image's own query, u1 (N,).
    """
    if units == "one":
        image, slot = np.arange(len(query_slot)), query_slot.astype(np.int64)
    else:
        image, slot = np.nonzero(eligible(variant, digit_class, digit_color))
        if units == "author":
            image, slot = image[: len(query_slot)], slot[: len(query_slot)]
    by_class, by_color = digit_class[image, slot].astype(np.int64), digit_color[image, slot].astype(np.int64)
    if not variant.asks:
        return Triples(image, slot, np.zeros_like(by_class), by_class)
    query, label = (by_class, by_color) if variant.query == "class" else (by_color, by_class)
    return Triples(image, slot, query, label)


def _occurrences(values: np.ndarray) -> np.ndarray:
    """Return how often the value of each slot occurs in its image, i8 (N, D)."""
    counts: np.ndarray = np.sum(values[:, :, None] == values[:, None, :], axis=2)
    return counts
