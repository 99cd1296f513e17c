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


def test_memory_that_is_a_little_larger_is_used_again():
    """In a training, steps have different numbers of questions. Mapping new memory takes as long as a step."""
    pool = Pool()
    places = set()
    for size in (224, 240, 224, 208, 240, 224):
        array = pool.take(size, np.float32)
        assert array.shape == (size,)
        places.add(array.ctypes.data)
        del array
    assert len(places) == 2
    assert pool.held == 4 * 240
    assert pool.take(100, np.float32).ctypes.data not in places  # much smaller


def test_the_smallest_fitting_memory_is_used():
    pool = Pool()
    lent = [pool.take(size, np.float32) for size in (120, 110, 130)]
    place = lent[1].ctypes.data
    del lent
    assert pool.take(105, np.float32).ctypes.data == place


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
