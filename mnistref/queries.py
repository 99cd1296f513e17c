"""Which digits of an image can be asked about, and the (image, digit) pairs a split is made of. Pure.

Legend: N images, D = 9 digit slots, T triples (image, query, label).
"""

from typing import NamedTuple

import numpy as np

from mnistref.spec import VariantSpec

UNITS = ("one", "all", "author")
"""Units of training: each image with its own query; every digit of every image; PAN's program (the first N triples)."""


class Triples(NamedTuple):
    """T questions: `image` i8 (T,), `slot` i8 (T,), `query` i8 (T,), `label` i8 (T,)."""

    image: np.ndarray
    slot: np.ndarray
    query: np.ndarray
    label: np.ndarray


def eligible(variant: VariantSpec, digit_class: np.ndarray, digit_color: np.ndarray) -> np.ndarray:
    """Which digits can be queried: i1 (N, D) classes and colours, −1 where there is none → bool (N, D).

    By colour, those whose colour is alone in the image; where a class is repeated, its digits; else every digit.
    """
    there = digit_class >= 0
    if variant.query == "color":
        return there & (_times(digit_color) == 1)
    if variant.repeats[1] > 1:
        return there & (_times(digit_class) > 1)
    return there


def triples(
    variant: VariantSpec, units: str, digit_class: np.ndarray, digit_color: np.ndarray, query_slot: np.ndarray
) -> Triples:
    """The questions of a split, in the order of its images: classes and colours i1 (N, D), `query_slot` u1 (N,)."""
    if units == "one":
        image, slot = np.arange(len(query_slot)), query_slot.astype(np.int64)
    else:
        image, slot = np.nonzero(eligible(variant, digit_class, digit_color))
        if units == "author":
            image, slot = image[: len(query_slot)], slot[: len(query_slot)]
    by_class, by_color = digit_class[image, slot].astype(np.int64), digit_color[image, slot].astype(np.int64)
    query, label = (by_class, by_color) if variant.query == "class" else (by_color, by_class)
    return Triples(image, slot, query, label)


def _times(values: np.ndarray) -> np.ndarray:
    """How often each slot's value occurs in its image: (N, D) → (N, D)."""
    return (values[:, :, None] == values[:, None, :]).sum(axis=2)
