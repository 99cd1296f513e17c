"""Sigmoid and tanh of the compiled kernels."""

import numpy as np
import pytest

pytest.importorskip("numba")
from bench.kernels import numba_exponentials, numba_simd
from mnistref.common.numba_jit import compiled


@compiled
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_simd_sigmoid_and_tanh_of_extreme_values(dtype):
    x = np.array([0, np.inf, -np.inf, np.nan, 1e30, -1e30, np.finfo(dtype).tiny, -0.0], dtype)
    s, t = np.empty_like(x), np.empty_like(x)
    gates((0,) * 8, x, s, t)
    np.testing.assert_allclose(s, [0.5, 1, 0, np.nan, 1, 0, 0.5, 0.5], atol=1e-37)
    np.testing.assert_array_equal(t, [0, 1, -1, np.nan, 1, -1, x[6], 0])
