"""RISE: its masks, and the pixels that it finds."""

import torch

from bench.attribution import rise
from bench.attribution.explained_network import ExplainedNetwork
from tests.bench.attribution.small_networks import brightness_in_a_corner


def test_rise_finds_the_only_pixels_that_matter(monkeypatch):
    monkeypatch.setattr(rise, "_MASKS", 200)
    torch.manual_seed(0)
    network = ExplainedNetwork(lambda images, query: 5 * (brightness_in_a_corner(images, query) - 2), 5)
    images, query = torch.ones(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    maps = rise.rise(network, images, query, torch.zeros(2, dtype=torch.long))
    assert maps[:, :16, :16].mean() > 1.2 * maps[:, 16:, 16:].mean()


def test_rise_masks_have_the_stated_mean_and_range():
    torch.manual_seed(0)
    masks = torch.stack([rise.random_mask((30, 41)) for _ in range(400)])
    assert masks.shape == (400, 30, 41)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert abs(float(masks.mean()) - 0.5) < 0.02
    assert (masks.mean(0) - 0.5).abs().max() < 0.12
