"""The compiled passes of pooling: equal pixels, NaN, odd sides, and pieces."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.pool import numba_passes


def pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pooled maps and the chosen pixels of x f4 (N, H, W, C)."""
    count, height, width, channels = x.shape
    out = np.full((count, height // 2, width // 2, channels), 9, np.float32)
    chosen = np.full(out.shape, 9, np.uint8)
    for first in range(count):  # map by map
        arrays = x.ravel(), out.ravel(), chosen.ravel()
        numba_passes.forward(first, first + 1, height, width, channels, *arrays)
    return out, chosen


def test_the_first_of_equal_pixels_is_chosen_and_none_where_relu_is_zero():
    x = np.array([[[1, 2], [2, 1]], [[3, 3], [3, 3]], [[-1, -2], [-3, 0]], [[np.nan, 5], [5, 7]]], np.float32)
    out, chosen = pooled(x[..., None])
    assert out.ravel()[:3].tolist() == [2, 3, 0]
    assert np.isnan(out.ravel()[3])
    assert chosen.ravel().tolist() == [1, 0, numba_passes.OFF, 0]


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (3, 5, 7, 4), (2, 4, 9, 3)])
def test_pooling_and_its_gradient_equal_pytorch(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    given = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    wanted = torch.nn.functional.max_pool2d(given, 2).relu()
    out, chosen = pooled(x)
    np.testing.assert_array_equal(out, wanted.detach().permute(0, 2, 3, 1))
    grad = np.random.default_rng(1).standard_normal(out.shape).astype(np.float32)
    d_x = np.full(shape, 9, np.float32)
    numba_passes.backward(0, shape[0], *shape[1:], grad.ravel(), chosen.ravel(), d_x.ravel())
    (expected,) = torch.autograd.grad(wanted, given, torch.tensor(grad).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(d_x, expected.permute(0, 2, 3, 1))
