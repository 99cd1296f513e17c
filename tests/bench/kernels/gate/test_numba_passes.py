"""The compiled passes of a gate compared with sums in double precision."""

import numpy as np
import pytest

pytest.importorskip("numba")
from bench.kernels.gate import numba_passes
from tests.bench.kernels.gate.pass_cases import CHANNELS, IMAGES, INDEX, numbers, questions

PLACES = [1, 7, 70]
"""Numbers of positions: one, no multiple of four, and more than a block."""


def gated(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return x · mask of each question, f8 (T, P, C)."""
    return x.astype(np.float64)[INDEX] * mask.astype(np.float64)[:, :, None]


@pytest.mark.parametrize("places", PLACES)
def test_moments_are_sums_over_positions_and_questions(places):
    x, mask, out = numbers(IMAGES, places, CHANNELS), numbers(len(INDEX), places, seed=1), np.empty((3, 2, CHANNELS))
    order, starts, _ = questions()
    numba_passes.moments(order, starts, 0, IMAGES, places, CHANNELS, x.ravel(), mask.ravel(), out)
    each = gated(x, mask)
    for image in range(IMAGES):
        mine = each[INDEX.numpy() == image].reshape(-1, CHANNELS)
        np.testing.assert_allclose(out[image], [mine.sum(0), (mine**2).sum(0)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("places", PLACES)
def test_normalise_scales_and_shifts_the_gated_features(places):
    x, mask = numbers(IMAGES, places, CHANNELS), numbers(len(INDEX), places, seed=1)
    scale, shift, out = numbers(CHANNELS, seed=2), numbers(CHANNELS, seed=3), numbers(len(INDEX), places, CHANNELS)
    order, starts, _ = questions()
    arrays = x.ravel(), mask.ravel(), scale, shift, out.ravel()
    for first in range(IMAGES):  # image by image
        numba_passes.normalise(order, starts, first, first + 1, places, CHANNELS, *arrays)
    np.testing.assert_allclose(out, gated(x, mask) * scale + shift, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("places", PLACES)
def test_gather_and_centre_give_the_gradients_of_batch_norm(places):
    """The gradient of the gated features is scale · grad − constant − slope · x · mask."""
    x, mask = numbers(IMAGES, places, CHANNELS), numbers(len(INDEX), places, seed=1)
    grad = numbers(len(INDEX), places, CHANNELS, seed=2)
    scale, constant, slope = (numbers(CHANNELS, seed=seed) for seed in (3, 4, 5))
    d_x, d_mask, sums = np.empty_like(x), np.empty_like(mask), np.empty((IMAGES, 2, CHANNELS))
    order, starts, _ = questions()
    given = order, starts, 0, IMAGES, places, CHANNELS, x.ravel(), mask.ravel()
    numba_passes.gather(*given, grad.ravel(), scale, d_x.ravel(), d_mask.ravel(), sums)
    for image in range(IMAGES):
        mine = INDEX.numpy() == image
        np.testing.assert_allclose(sums[image, 0], grad[mine].sum((0, 1), dtype=np.float64), rtol=1e-4, atol=1e-4)
        product = (gated(x, mask)[mine] * grad[mine]).sum((0, 1))
        np.testing.assert_allclose(sums[image, 1], product, rtol=1e-4, atol=1e-4)
    numba_passes.centre(*given, scale, constant, slope, d_x.ravel(), d_mask.ravel())
    of_gated = scale * grad.astype(np.float64) - constant - slope * gated(x, mask)
    wanted = np.zeros(x.shape)
    np.add.at(wanted, INDEX.numpy(), of_gated * mask[:, :, None])
    np.testing.assert_allclose(d_x, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(d_mask, (of_gated * x[INDEX]).sum(2), rtol=1e-4, atol=1e-4)
