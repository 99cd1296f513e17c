"""SIMD operations of the compiled kernels."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")
from bench.kernels import numba_simd  # noqa: E402
from mnistref.common.numba_jit import compiled  # noqa: E402


@compiled
def gates(width, x, s, t):
    for at in range(0, len(x), len(width)):
        value = numba_simd.load(width, x, at)
        numba_simd.store(s, at, numba_simd.sigmoid(value))
        numba_simd.store(t, at, numba_simd.tanh(value))


@compiled
def arithmetic(width, x, y, out):
    a, b = numba_simd.load(width, x, 0), numba_simd.load(width, y, 0)
    numba_simd.store(
        out, 0, numba_simd.fma(numba_simd.spread(width, y, 1), a, (a - b) / (a + b) * a) + numba_simd.splat(width, y[2])
    )


@compiled
def four_totals(x, out):
    eight = (0,) * 8
    a, b = numba_simd.load(eight, x, 0), numba_simd.load(eight, x, 8)
    c, d = numba_simd.load(eight, x, 16), numba_simd.load(eight, x, 24)
    numba_simd.add_totals(out, 1, a, b, c, d)


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2e-7), (np.float64, 6e-16)])
def test_simd_sigmoid_and_tanh_are_accurate(dtype, bound, lanes):
    grid = [np.linspace(-b, b, 1 << 14) for b in (1e-6, 1e-2, 2, 30, 80)]
    x = np.concatenate(grid).astype(dtype)
    s, t = np.empty_like(x), np.empty_like(x)
    gates((0,) * lanes, x, s, t)
    wide = x.astype(np.longdouble)
    for got, expected in ((s, 1 / (1 + np.exp(-wide))), (t, np.tanh(wide))):
        assert np.max(np.abs(got - expected) / np.abs(expected)) < bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simd_sigmoid_and_tanh_of_extreme_values(dtype):
    x = np.array([0, np.inf, -np.inf, np.nan, 1e30, -1e30, np.finfo(dtype).tiny, -0.0], dtype)
    s, t = np.empty_like(x), np.empty_like(x)
    gates((0,) * 8, x, s, t)
    np.testing.assert_allclose(s, [0.5, 1, 0, np.nan, 1, 0, 0.5, 0.5], atol=1e-37)
    np.testing.assert_array_equal(t, [0, 1, -1, np.nan, 1, -1, x[6], 0])


@pytest.mark.parametrize("lanes", [8, 16, 24])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_compute_lane_by_lane(dtype, lanes):
    x, y = np.random.default_rng(0).random((2, lanes)).astype(dtype)
    out = np.empty_like(x)
    arithmetic((0,) * lanes, x, y, out)
    np.testing.assert_allclose(out, y[1] * x + (x - y) / (x + y) * x + y[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_add_totals_adds_four_sums(dtype):
    x, out = np.random.default_rng(0).random((4, 8)).astype(dtype), np.ones(6, dtype)
    four_totals(x.ravel(), out)
    np.testing.assert_allclose(out, [1, *(1 + x.sum(1)), 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_block_is_transposed_into_another_array(dtype):
    source = np.random.default_rng(0).random((8, 11)).astype(dtype)
    out = np.zeros((9, 13), dtype)
    compiled(lambda s, o: numba_simd.transpose_block(s, 2, 11, o, 13 + 5, 13))(source.ravel(), out.ravel())
    expected = np.zeros_like(out)
    expected[1:, 5:] = source[:, 2:10].T
    np.testing.assert_array_equal(out, expected)
