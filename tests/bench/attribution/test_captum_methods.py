"""Map methods compared with finite differences, autograd and their definitions."""

import pytest
import torch
from torch import nn

from bench.attribution import captum_methods
from bench.attribution.explained_network import ExplainedNetwork
from tests.bench.attribution.small_networks import brightness_in_a_corner, classes_of

pytest.importorskip("captum")


def test_gradient_equals_autograd(network, batch):
    with network.frozen():
        classes = classes_of(network, batch)
        images = batch.images.clone().requires_grad_()
        network.scores(images, batch.query).gather(1, classes[:, None]).sum().backward()
        expected = images.grad.abs().amax(1)
        torch.testing.assert_close(captum_methods.gradient(network, batch.images, batch.query, classes), expected)
        product = (images.grad * batch.images).sum(1).abs()
        torch.testing.assert_close(
            captum_methods.input_x_gradient(network, batch.images, batch.query, classes), product
        )
    assert batch.images.grad is None
    assert not batch.images.requires_grad


def test_integrated_gradients_sum_to_the_change_of_the_score():
    """The axiom of completeness, on a network that is linear in the pixels: the sum is exact."""
    torch.manual_seed(0)
    weights = torch.rand(5, 3, 8, 8)

    def score(images, query):
        return torch.einsum("bchw,kchw->bk", images, weights)

    network = ExplainedNetwork(score, 5)
    images, query = torch.rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.long)
    classes = torch.tensor([0, 1, 2])
    maps = captum_methods.integrated_gradients(network, images, query, classes)
    expected = score(images, query).gather(1, classes[:, None]).squeeze(1)
    torch.testing.assert_close(maps.sum((1, 2)), expected)


def test_gradcam_equals_its_definition(network, batch):
    with network.frozen():
        classes = classes_of(network, batch)
        kept = []
        handle = network.layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
        score = network.scores(batch.images.clone().requires_grad_(), batch.query).gather(1, classes[:, None]).sum()
        handle.remove()
        (gradients,) = torch.autograd.grad(score, kept)
        expected = (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).clamp_min(0)
        torch.testing.assert_close(captum_methods.gradcam(network, batch.images, batch.query, classes), expected)


def test_a_network_without_convolutions_has_no_gradcam():
    network = ExplainedNetwork(brightness_in_a_corner, 5)
    images = torch.rand(2, 3, 16, 16)
    assert captum_methods.gradcam(network, images, torch.zeros(2).long(), torch.zeros(2).long()) is None


def test_gradients_flow_through_other_modules():
    torch.manual_seed(0)

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, images, query):
            return self.linear(self.convolution(images).relu().mean((2, 3))), images.mean(1)

    network = ExplainedNetwork(Other(), 5)
    images, zeros = torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)
    assert captum_methods.gradient(network, images, zeros, zeros).max() > 0
    assert captum_methods.gradcam(network, images, zeros, zeros).shape == (2, 14, 14)


def test_gradients_of_noise_cancel_in_smoothgrad():
    """The score is Σ |x − ½|: its gradient is −1 or 1, and its mean under noise is 0 at ½ and 1 far above it."""
    torch.manual_seed(0)
    network = ExplainedNetwork(lambda images, query: (images - 0.5).abs().sum((1, 2, 3))[:, None].expand(-1, 5), 5)
    images = torch.full((2, 3, 8, 8), 0.5)
    images[:, :, :4] = 2.0
    query = torch.zeros(2, dtype=torch.long)
    maps = captum_methods.smoothgrad(network, images, query, query)
    torch.testing.assert_close(maps[:, :4], torch.ones(2, 4, 8))
    assert maps[:, 4:].mean() < 0.5
    assert captum_methods.gradient(network, images + 1e-3, query, query).min() == 1
