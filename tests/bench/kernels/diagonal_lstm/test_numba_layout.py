"""Copies between maps of images and maps of groups of images."""

import numpy as np
import pytest

pytest.importorskip("numba")
from bench.kernels.diagonal_lstm import numba_layout

FIRST, CELLS = 3, 7


@pytest.fixture(params=[(5, 8, 3), (8, 8, 8), (16, 16, 9), (21, 24, 32)], ids=str)
def group(request):
    """Return (used images, lanes, channels) of a group."""
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_map_of_a_group_has_an_image_in_each_lane(group, dtype):
    used, lanes, channels = group
    x = np.random.default_rng(0).random((FIRST + used + 1, CELLS, channels)).astype(dtype)
    out = np.full(CELLS * channels * lanes, np.nan, dtype)
    numba_layout.to_lanes(x.ravel(), FIRST, used, lanes, CELLS, channels, out)
    found = out.reshape(CELLS, channels, lanes)
    np.testing.assert_array_equal(found[:, :, :used], x[FIRST : FIRST + used].transpose(1, 2, 0))
    assert (found[:, :, used:] == 0).all()


def test_numbers_of_a_group_are_written_to_its_images_only(group):
    used, lanes, count = group
    source = np.random.default_rng(0).random((count, lanes))
    out = np.full((FIRST + used + 1, count), -1.0)
    numba_layout.from_lanes(source.ravel(), FIRST, used, lanes, count, out.ravel())
    np.testing.assert_array_equal(out[FIRST : FIRST + used], source[:, :used].T)
    assert (out[:FIRST] == -1).all()
    assert (out[-1] == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_of_two_maps_is_written_to_the_images_of_the_group_only(group, dtype):
    used, lanes, channels = group
    one, two = np.random.default_rng(0).random((2, CELLS, channels, lanes)).astype(dtype)
    wanted = (one + two)[:, :, :used].transpose(2, 0, 1)
    out = np.full((FIRST + used + 1, CELLS, channels), -1, dtype)
    numba_layout.add_from_lanes(one.ravel(), two.ravel(), FIRST, used, lanes, CELLS, channels, out.ravel())
    np.testing.assert_array_equal(out[FIRST : FIRST + used], wanted)
    assert (out[:FIRST] == -1).all()
    assert (out[-1] == -1).all()


def test_tiles_do_not_change_a_copy():
    """The map is larger than a tile, and its last tile is smaller."""
    cells, lanes, channels = numba_layout.TILE // (16 * 9) + 5, 16, 9
    x = np.random.default_rng(0).random((16, cells, channels)).astype(np.float32)
    out = np.empty(cells * channels * lanes, np.float32)
    numba_layout.to_lanes(x.ravel(), 0, 16, lanes, cells, channels, out)
    np.testing.assert_array_equal(out.reshape(cells, channels, lanes), x.transpose(1, 2, 0))
    back = np.empty_like(x)
    numba_layout.add_from_lanes(out, np.zeros_like(out), 0, 16, lanes, cells, channels, back.ravel())
    np.testing.assert_array_equal(back, x)
