"""Memory that is lent and returned."""

import gc

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")
from bench.kernels.buffer_pool import Pool  # noqa: E402


def test_pool_memory_is_returned_when_unreferenced():
    pool = Pool()
    array = pool.take(10, np.float32)
    assert (array.shape, array.dtype) == ((10,), np.float32)
    place, tensor = array.ctypes.data, torch.from_numpy(array)[2:]
    del array
    other = pool.take(10, np.float32)
    assert other.ctypes.data != place
    del tensor
    gc.collect()
    assert pool.take(10, np.float32).ctypes.data == place


def test_pool_holds_at_most_the_memory_lent_at_once():
    pool = Pool()
    for size in range(1, 50):
        pool.take(size, np.float64)
        assert pool.held <= 8 * size
    lent = [pool.take(20, np.float64) for _ in range(3)]
    assert pool.held == 3 * 160
    del lent
    gc.collect()
    assert pool.held == 3 * 160
