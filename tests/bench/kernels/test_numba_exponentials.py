"""Sigmoid and tanh of the compiled kernels."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")
from bench.kernels import numba_exponentials, numba_simd  # noqa: E402


@numba.njit
def gates(width, x, s, t):
    for at in range(0, len(x), len(width)):
        value = numba_simd.load(width, x, at)
        numba_simd.store(s, at, numba_exponentials.sigmoid(value))
        numba_simd.store(t, at, numba_exponentials.tanh(value))


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


@numba.njit
def quick_gates(width, x, s, t):
    for at in range(0, len(x), len(width)):
        value = numba_simd.load(width, x, at)
        numba_simd.store(s, at, numba_exponentials.quick_sigmoid(value))
        numba_simd.store(t, at, numba_exponentials.quick_tanh(value))


@pytest.mark.skipif(numba_simd.WIDE_PIECE != 16, reason="needs AVX-512")
def test_quick_sigmoid_and_tanh_are_more_accurate_than_bf16():
    x = np.concatenate([np.linspace(-b, b, 1 << 14) for b in (1e-6, 1e-2, 2, 30, 80)]).astype(np.float32)
    s, t = np.empty_like(x), np.empty_like(x)
    quick_gates((0,) * 32, x, s, t)
    wide = x.astype(np.longdouble)
    for got, expected in ((s, 1 / (1 + np.exp(-wide))), (t, np.tanh(wide))):
        assert np.max(np.abs(got - expected) / np.abs(expected)) < 3e-4
    x = np.tile(np.array([0, np.inf, -np.inf, np.nan], np.float32), 4)
    s, t = np.empty_like(x), np.empty_like(x)
    quick_gates((0,) * 16, x, s, t)
    np.testing.assert_allclose(s[:4], [0.5, 1, 0, np.nan], rtol=1e-4, atol=1e-37)
    np.testing.assert_allclose(t[:4], [0, 1, -1, np.nan], rtol=1e-4)


def test_quick_functions_refuse_narrow_pieces():
    x = np.zeros(8, np.float32)
    with pytest.raises(numba.TypingError, match="pieces of 8 lanes"):
        quick_gates((0,) * 8, x, x, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simd_sigmoid_and_tanh_of_extreme_values(dtype):
    x = np.array([0, np.inf, -np.inf, np.nan, 1e30, -1e30, np.finfo(dtype).tiny, -0.0], dtype)
    s, t = np.empty_like(x), np.empty_like(x)
    gates((0,) * 8, x, s, t)
    np.testing.assert_allclose(s, [0.5, 1, 0, np.nan, 1, 0, 0.5, 0.5], atol=1e-37)
    np.testing.assert_array_equal(t, [0, 1, -1, np.nan, 1, -1, x[6], 0])
