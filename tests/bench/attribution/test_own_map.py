"""The network's own map as a map method."""

import torch

from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.own_map import attention


def test_the_own_map_is_that_of_the_network(network, batch):
    classes = torch.zeros(4, dtype=torch.long)
    maps = attention(network, batch.images, batch.query, classes)
    assert maps.shape == (4, 48, 48)
    assert torch.equal(maps, network.attention(batch.images, batch.query))


def test_a_network_without_a_map_has_no_own_map(batch):
    network = ExplainedNetwork(lambda images, query: images.mean((2, 3)), 3)
    assert attention(network, batch.images, batch.query, batch.query) is None
