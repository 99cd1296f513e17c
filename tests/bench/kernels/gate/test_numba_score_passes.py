"""The compiled passes of a score compared with plain operators in double precision."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.gate import numba_score_passes
from tests.bench.kernels.gate.pass_cases import CHANNELS, IMAGES, INDEX, numbers, questions


def exact(x: np.ndarray, embedded: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> list[torch.Tensor]:
    """Return scores f8 (T, P) and the arguments as tensors that need gradients."""
    given = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (x, embedded, weight, bias)]
    hidden = (given[0][INDEX] + given[1][:, None]).relu()
    return [hidden @ given[2] + given[3], *given]


@pytest.mark.parametrize("places", [1, 7, 70])
def test_scores_and_gradients_equal_plain_operators(places):
    x, embedded = numbers(IMAGES, places, CHANNELS), numbers(len(INDEX), CHANNELS, seed=1)
    weight, bias, grad = numbers(CHANNELS, seed=2), numbers(1, seed=3), numbers(len(INDEX), places, seed=4)
    order, starts, _ = questions()
    given, out = (order, starts, 0, IMAGES, places, CHANNELS, x.ravel(), embedded.ravel()), np.empty_like(grad)
    numba_score_passes.score(*given, weight, bias, out.ravel())
    wanted, *arguments = exact(x, embedded, weight, bias)
    np.testing.assert_allclose(out, wanted.detach(), rtol=1e-5, atol=1e-5)
    d_x, d_embedded, d_weight = np.empty_like(x), np.empty(embedded.shape), np.empty((IMAGES, CHANNELS))
    numba_score_passes.gradients(*given, grad.ravel(), weight, d_x.ravel(), d_embedded, d_weight)
    of_x, of_embedded, of_weight = torch.autograd.grad(wanted, arguments[:3], torch.tensor(grad).double())
    for found, expected in ((d_x, of_x), (d_embedded, of_embedded), (d_weight.sum(0), of_weight)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (d_x[1] == 0).all()  # there is no question about this image
    assert (d_weight[1] == 0).all()


def test_an_inactive_unit_of_minus_infinity_has_no_gradient():
    x, embedded = numbers(IMAGES, 5, CHANNELS), numbers(len(INDEX), CHANNELS, seed=1)
    x[0, 2, 3] = -np.inf
    weight, grad = numbers(CHANNELS, seed=2), numbers(len(INDEX), 5, seed=4)
    order, starts, _ = questions()
    d_x, d_embedded, d_weight = np.empty_like(x), np.empty(embedded.shape), np.empty((IMAGES, CHANNELS))
    given = order, starts, 0, IMAGES, 5, CHANNELS, x.ravel(), embedded.ravel(), grad.ravel(), weight
    numba_score_passes.gradients(*given, d_x.ravel(), d_embedded, d_weight)
    assert d_x[0, 2, 3] == 0
    assert np.isfinite(d_x).all()
    assert np.isfinite(d_weight).all()
