"""The machine code of the forward pass."""

import re

import numpy as np
import pytest

numba = pytest.importorskip("numba")
from bench.kernels import numba_simd  # noqa: E402
from bench.kernels.diagonal_lstm import numba_forward  # noqa: E402


def test_compiled_loops_use_vector_instructions():
    """On a machine with vectors of 256 bits or more, multiply-adds are vectors and exponentials call no library."""
    fresh = numba.njit(numba_forward.forward.py_func)  # cached code has no assembly
    row, x = np.zeros(1000, np.float32), np.zeros((1, 1, 1, 2), np.float32)
    fresh((0,) * 16, (1, 1, 2), 1, row[:32], row[:4].reshape(1, 4), row, row, 0, False, row, row[:0], x)
    assembly = fresh.inspect_asm(fresh.signatures[0])
    if not re.search("ymm|zmm", assembly):
        pytest.skip("no vectors of 256 bits here")
    if numba_simd.WIDE_PIECE == 16:
        assert assembly.count("zmm") > 200
    assert assembly.count("ps\t") > 200
    assert not re.search(r"vfmadd\w*ss\b|vdivss|expf|tanhf", assembly)
