"""Eligible digits and questions of small hand-made images."""

import numpy as np
import pytest

from mnistref.queries import eligible, triples
from mnistref.variants import VARIANTS

CLASSES = np.array([[3, 5, -1], [2, -1, -1]], np.int8)
COLORS = np.array([[0, 1, -1], [4, -1, -1]], np.int8)
OWN_SLOTS = np.array([1, 0], np.uint8)


@pytest.mark.parametrize(
    ("variant", "classes", "colors", "expected"),
    [
        ("mref", [4, 7, 1, -1], [0, 0, 2, -1], [True, True, True, False]),
        ("mbginv", [4, 7, 1, -1], [0, 1, 0, -1], [False, True, False, False]),
        ("mbgmulti", [4, 7, 4, -1], [0, 1, 2, -1], [True, False, True, False]),
    ],
)
def test_eligible_digits_follow_the_query_of_the_variant(variant, classes, colors, expected):
    found = eligible(VARIANTS[variant], np.array([classes], np.int8), np.array([colors], np.int8))
    assert found.tolist() == [expected]


@pytest.mark.parametrize(
    ("units", "images", "slots", "queries", "labels"),
    [
        ("one", [0, 1], [1, 0], [5, 2], [1, 4]),
        ("all", [0, 0, 1], [0, 1, 0], [3, 5, 2], [0, 1, 4]),
        ("author", [0, 0], [0, 1], [3, 5], [0, 1]),
    ],
)
def test_triples_are_ordered_by_image(units, images, slots, queries, labels):
    found = triples(VARIANTS["mref"], units, CLASSES, COLORS, OWN_SLOTS)
    assert [values.tolist() for values in found] == [images, slots, queries, labels]
    assert {values.dtype for values in found} == {np.dtype(np.int64)}


def test_inverse_triples_query_colors_and_have_class_labels():
    found = triples(VARIANTS["miniinv"], "one", CLASSES, COLORS, OWN_SLOTS)
    assert (found.query.tolist(), found.label.tolist()) == ([1, 4], [5, 2])


@pytest.mark.parametrize("units", ["one", "all", "author"])
def test_without_a_query_the_label_is_the_class_and_the_query_is_zero(units):
    classes, colors = np.array([[3, -1], [7, -1]], np.int8), np.array([[0, -1], [4, -1]], np.int8)
    found = triples(VARIANTS["mone"], units, classes, colors, np.array([0, 0], np.uint8))
    assert [values.tolist() for values in found] == [[0, 1], [0, 0], [0, 0], [3, 7]]
