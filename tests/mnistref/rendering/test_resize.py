"""Resized images equal those of Pillow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnistref.rendering.reference import resized
from mnistref.rendering.resize import resize, resizer, scratch

TABLES = {source: (resizer(source, largest), scratch(source, largest)) for source, largest in ((28, 90), (5, 15))}


def by_tables(image: np.ndarray, side: int) -> np.ndarray:
    tables, room = TABLES[len(image)]
    out = np.full((tables.first.shape[1],) * 2, 99, np.uint8)
    resize(tables, np.ascontiguousarray(image.T), side, room, out)
    return out[:side, :side]


@pytest.mark.parametrize(("source", "sides"), [(28, range(1, 91)), (5, range(1, 16))])
def test_resize_equals_pillow_at_every_side(source, sides):
    rng = np.random.default_rng(source)
    for side in sides:
        image = rng.integers(0, 256, (source, source), dtype=np.uint8)
        image[rng.random((source, source)) < 0.4] = 0
        np.testing.assert_array_equal(by_tables(image, side), resized(image, side))


@settings(max_examples=50, deadline=None)
@given(st.integers(14, 84), st.binary(min_size=784, max_size=784))
def test_resize_equals_pillow_on_any_image(side, data):
    image = np.frombuffer(data, np.uint8).reshape(28, 28)
    np.testing.assert_array_equal(by_tables(image, side), resized(image, side))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_resized_flat_image_stays_flat(value):
    image = np.full((28, 28), value, np.uint8)
    for side in (14, 27, 28, 29, 83):
        assert (by_tables(image, side) == value).all()
