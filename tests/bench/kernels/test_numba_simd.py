"""SIMD operations of the compiled kernels."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")
from bench.kernels import numba_simd  # noqa: E402


def arithmetic(width, x, y, out):
    a, b = numba_simd.load(width, x, 0), numba_simd.load(width, y, 0)
    numba_simd.store(
        out, 0, numba_simd.fma(numba_simd.spread(width, y, 1), a, (a - b) / (a + b) * a) + numba_simd.splat(width, y[2])
    )


def four_totals(width, x, out):
    lanes = len(width)
    a, b = numba_simd.load(width, x, 0), numba_simd.load(width, x, lanes)
    c, d = numba_simd.load(width, x, 2 * lanes), numba_simd.load(width, x, 3 * lanes)
    numba_simd.add_totals(out, 1, a, b, c, d)


@pytest.mark.parametrize(
    ("dtype", "lanes", "pieces"),
    [(np.float32, 8, [8]), (np.float32, 24, [8, 8, 8]), (np.float32, 32, [16, 16]), (np.float64, 16, [8, 8])],
)
def test_pieces_fill_a_register(dtype, lanes, pieces, monkeypatch):
    monkeypatch.setattr(numba_simd, "WIDE_PIECE", 16)
    vector = numba_simd.Vector(numba.from_dtype(np.dtype(dtype)), lanes)
    assert [vector.piece.count] * len(vector.starts) == pieces


@pytest.mark.parametrize("lanes", [8, 16, 24, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_compute_lane_by_lane(dtype, lanes):
    x, y = np.random.default_rng(0).random((2, lanes)).astype(dtype)
    out = np.empty_like(x)
    numba.njit(arithmetic)((0,) * lanes, x, y, out)
    np.testing.assert_allclose(out, y[1] * x + (x - y) / (x + y) * x + y[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lanes", [8, 16, 24])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_add_totals_adds_four_sums(dtype, lanes):
    x, out = np.random.default_rng(0).random((4, lanes)).astype(dtype), np.ones(6, dtype)
    numba.njit(four_totals)((0,) * lanes, x.ravel(), out)
    np.testing.assert_allclose(out, [1, *(1 + x.sum(1)), 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_block_is_transposed_into_another_array(dtype):
    source = np.random.default_rng(0).random((8, 11)).astype(dtype)
    out = np.zeros((9, 13), dtype)
    numba.njit(lambda s, o: numba_simd.transpose_block(s, 2, 11, o, 13 + 5, 13))(source.ravel(), out.ravel())
    expected = np.zeros_like(out)
    expected[1:, 5:] = source[:, 2:10].T
    np.testing.assert_array_equal(out, expected)
