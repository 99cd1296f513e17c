"""A network whose answers are explained: frozen parameters, scores and maps."""

import pytest
import torch
from torch import nn

from bench.attribution.explained_network import ExplainedNetwork
from bench.model import create_model


def test_a_network_that_was_frozen_has_its_modes_and_gradients_back():
    model = create_model("san", "mini")
    model.stages[0].requires_grad_(False)
    network = ExplainedNetwork(model, 5)
    with network.frozen():
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert not model.stages[0].weight.requires_grad
    assert model.stages[1].weight.requires_grad


def test_a_model_without_logits_cannot_be_explained():
    network = ExplainedNetwork(lambda images, query: images.mean(1), 5)
    with pytest.raises(ValueError, match="maps without logits"):
        network.scores(torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long))


def test_probabilities_are_the_softmax_of_the_scores(network, batch):
    with network.frozen():
        scores = network.scores(batch.images, batch.query)
        torch.testing.assert_close(network.probabilities(batch.images, batch.query), scores.softmax(1))
        assert network.device == torch.device("cpu")


def test_own_map_has_the_size_of_the_image_and_sums_to_1(network, batch):
    with network.frozen():
        maps = network.attention(batch.images, batch.query)
    assert maps.shape == (4, 48, 48)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(4))
    without = ExplainedNetwork(create_model("none", "mini"), 5)
    with without.frozen():
        assert without.attention(batch.images, batch.query) is None


def test_layer_of_gradcam_is_the_last_convolution_unless_it_is_given():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    assert ExplainedNetwork(model, 5).layer is model[2]
    assert ExplainedNetwork(model, 5, layer=model[0]).layer is model[0]
    assert ExplainedNetwork(lambda images, query: images.mean((2, 3)), 3).layer is None
