"""Features are the input of the last linear layer."""

import pytest
import torch
from torch import nn

from bench.evaluation.features import compute_features
from bench.model import create_model


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last, self.first = nn.Linear(5, 2), nn.Linear(3, 5)  # called in the other order

    def forward(self, images, query):
        return self.last(self.first(images.mean((2, 3))).relu())


def test_features_are_the_input_of_the_layer_that_is_called_last():
    images = torch.rand(7, 3, 4, 4)
    model = Two().train()
    found = compute_features(model, images.split(3))
    torch.testing.assert_close(found, model.first(images.mean((2, 3))).relu().detach())
    assert not model.training
    assert not model.last._forward_pre_hooks


def test_a_network_of_bench_has_the_features_that_its_answers_are_made_of():
    model = create_model("none", classes=3, queries=0, size=(32, 32), width=6).eval()
    images = torch.rand(4, 3, 32, 32)
    features = compute_features(model, [images])
    assert features.shape == (4, 6)
    (linear,) = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        torch.testing.assert_close(linear(features), model(images, torch.zeros(4, dtype=torch.long)).logits)


def test_a_network_without_a_linear_layer_for_each_image_has_no_features():
    class Plain(nn.Module):
        def forward(self, images, query):
            return images.mean((2, 3))

    class PerPixel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, images, query):
            return self.linear(images).mean((2, 3))

    for model in (Plain(), PerPixel()):
        with pytest.raises(ValueError, match="no linear layer that takes one vector for each image"):
            compute_features(model, [torch.rand(2, 3, 4, 4)])
