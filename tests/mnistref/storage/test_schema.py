"""Shapes, ranges and empty values of the fields of a shard."""

import numpy as np
import pytest

from mnistref.common.errors import DataProblemError
from mnistref.storage.schema import FIELDS, empty, require_layout, require_range, require_valid


def test_full_shapes_of_fields():
    assert FIELDS["image"].full_shape(3, 48) == (3, 48, 48, 3)
    assert FIELDS["digit_box"].full_shape(3, 48) == (3, 9, 4)
    assert FIELDS["count"].full_shape(3, 48) == (3,)
    assert [FIELDS[name].shape_text for name in ("image", "digit_class", "count")] == ["(N, H, W, 3)", "(N, 9)", "(N,)"]


def test_empty_arrays_have_the_values_of_empty_slots():
    arrays = empty(2, 5)
    assert (arrays.digit_class == -1).all()
    assert (arrays.photo == -1).all()
    assert not arrays.image.any()
    assert arrays.instance.shape == (2, 5, 5)


def test_values_outside_the_range_of_a_field_are_named():
    require_range("label", np.array([0, 9], np.int8), "x.h5")
    for bad in (-1, 10):
        with pytest.raises(DataProblemError, match=r"^x\.h5: label has values outside 0 … 9$"):
            require_range("label", np.array([3, bad], np.int8), "x.h5")


@pytest.mark.parametrize(("dtype", "shape"), [("i8", (2,)), ("u1", (3,)), ("u1", (2, 1))])
def test_wrong_layout_of_a_field_is_named(dtype, shape):
    require_layout("count", np.dtype("u1"), (2,), 2, 48, "x.h5")
    with pytest.raises(DataProblemError, match=r"^x\.h5: count is .*, the format requires u1 \(2,\)$"):
        require_layout("count", np.dtype(dtype), shape, 2, 48, "x.h5")


def test_missing_and_extra_fields_are_named():
    arrays = empty(2, 5)._asdict()
    arrays["count"].fill(1)
    require_valid(arrays, 2, 5, "x.h5")
    arrays["extra"] = arrays.pop("label")
    with pytest.raises(DataProblemError, match=r"fields differ from the format: \['extra', 'label'\]"):
        require_valid(arrays, 2, 5, "x.h5")
