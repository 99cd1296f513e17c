"""Deletion and insertion on a network that counts bright pixels."""

import torch

from bench.attribution import perturbation
from bench.attribution.explained_network import ExplainedNetwork

IMAGES = torch.ones(2, 3, 10, 10)
ZEROS = torch.zeros(2, dtype=torch.long)


def left_half(images, query):
    """Return logits whose first class has the probability of the share of bright pixels in the left half."""
    share = images[:, :, :, :5].mean((1, 2, 3)).clamp(1e-6, 1 - 1e-6)
    rest = (1 - share) / 4
    return torch.stack([share, rest, rest, rest, rest], dim=1).log()


def test_deletion_follows_the_removed_pixels():
    network = ExplainedNetwork(left_half, 5)
    useful = torch.zeros(2, 10, 10)
    useful[:, :, :5] = 1
    first, last = (perturbation.deletion(network, IMAGES, ZEROS, ZEROS, scores) for scores in (useful, 1 - useful))
    assert first.shape == (2, perturbation.CURVE_STEPS + 1)
    expected = (1 - 2 * torch.linspace(0, 1, perturbation.CURVE_STEPS + 1)).clamp(0, 1)
    torch.testing.assert_close(first[0], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        last[0], (2 - 2 * torch.linspace(0, 1, perturbation.CURVE_STEPS + 1)).clamp(0, 1), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(perturbation.area(first), torch.full((2,), 0.25, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(perturbation.area(last), torch.full((2,), 0.75, dtype=torch.float64), atol=1e-3, rtol=0)


def test_insertion_ends_with_the_image_and_starts_with_the_blurred_one():
    network = ExplainedNetwork(left_half, 5)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 10, 10)
    scores = torch.rand(2, 10, 10)
    curve = perturbation.insertion(network, images, ZEROS, ZEROS, scores)
    torch.testing.assert_close(curve[:, -1], network.probabilities(images, ZEROS)[:, 0])
    assert not torch.allclose(curve[:, 0], curve[:, -1])
    deleted = perturbation.deletion(network, images, ZEROS, ZEROS, scores)
    torch.testing.assert_close(deleted[:, 0], curve[:, -1])
    assert (deleted[:, -1] < 1e-5).all()
