"""The network's own map as a map method."""

import torch
import torch.nn.functional as F

from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.own_map import attention, two_levels
from bench.model import create_model


def test_the_own_map_is_that_of_the_network(network, batch):
    classes = torch.zeros(4, dtype=torch.long)
    maps = attention(network, batch.images, batch.query, classes)
    assert maps.shape == (4, 48, 48)
    assert torch.equal(maps, network.attention(batch.images, batch.query))


def test_a_network_without_a_map_has_no_own_map(batch):
    network = ExplainedNetwork(lambda images, query: images.mean((2, 3)), 3)
    assert attention(network, batch.images, batch.query, batch.query) is None


def test_two_levels_are_the_root_of_the_product_of_the_last_two_maps(batch):
    torch.manual_seed(0)
    model = create_model("ltpa-dp", "mini").eval()
    maps = two_levels(ExplainedNetwork(model, 5), batch.images, batch.query, batch.query)
    with torch.no_grad():
        masks = model(batch.images, batch.query).masks
    assert len(masks) > 2
    first, second = (F.interpolate(mask, (48, 48), mode="bilinear")[:, 0] for mask in masks[-2:])
    root = (first * second).sqrt()
    torch.testing.assert_close(maps, root / root.sum((1, 2), keepdim=True))


def test_only_readouts_of_several_levels_have_two_levels(network, batch):
    """The map of a gate is not a level, even before a readout of one level."""
    one_level = ExplainedNetwork(create_model("pan,ltpa-dp:levels=1", "mini").eval(), 5)
    for each in (network, one_level):
        assert two_levels(each, batch.images, batch.query, batch.query) is None
