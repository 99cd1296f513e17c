"""Products and copies of the compiled diagonal LSTM."""

import numpy as np
import pytest

pytest.importorskip("numba")
from bench.kernels.diagonal_lstm.numba_gemm import BLOCK, PENDING, add_weight_gradients, padded, transpose


@pytest.mark.parametrize(("count", "multiple", "wanted"), [(0, 8, 0), (1, 8, 8), (8, 8, 8), (9, 8, 16), (25, 12, 36)])
def test_padded_is_the_next_multiple(count, multiple, wanted):
    assert padded(count, multiple) == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 9), (8, 8), (11, 20), (16, 24)])
def test_transpose_copies_a_block_of_any_size(rows, columns, dtype):
    source = np.arange(30 * 40, dtype=dtype)
    out = np.zeros(50 * 33, dtype)
    transpose(source, 5, 40, rows, columns, out, 7, 33)
    block = source[5:].copy()
    wanted = np.zeros_like(out)
    for r in range(rows):
        for c in range(columns):
            wanted[7 + c * 33 + r] = block[r * 40 + c]
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize(("strip", "count"), [(8, 8), (8, 48), (8, PENDING), (16, 48), (16, PENDING)])
def test_gradients_of_weights_are_added_over_the_first_columns(strip, count):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((8, PENDING)).astype(np.float32)
    columns = rng.standard_normal((2 * BLOCK, PENDING)).astype(np.float32)
    out = np.ones((2 * BLOCK, 8), np.float32)
    add_weight_gradients((0,) * strip, rows, columns, count, out)
    wanted = 1 + columns[:, :count].astype(np.float64) @ rows[:, :count].T
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-4)
