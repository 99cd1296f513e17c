"""Each map method against Captum's own call, finite differences, or its definition."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from bench.attribution import captum_methods, rise
from bench.attribution.explain import seeded
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import map_method
from bench.attribution.methods import DEFAULT_METHODS, METHODS, find_method, find_methods
from bench.model import create_model
from mnistref.common.errors import UsageProblemError
from tests.helpers import TOP

pytest.importorskip("captum")
FAST = [name for name, method in METHODS.items() if not method.is_slow]


@pytest.fixture
def batch(split):
    return split.batch(torch.arange(4))


def classes_of(network, batch):
    return network.probabilities(batch.images, batch.query).argmax(1)


@pytest.mark.parametrize("attn", ["none", "san", "pan-ctx", "arnn", "han", "stn-s", "arnn-sampled", "none,cbam"])
def test_every_fast_method_gives_maps_for_every_mechanism(attn, batch):
    torch.manual_seed(1)
    network = ExplainedNetwork(create_model(attn, "mini").eval(), 5)
    with network.frozen():
        classes = classes_of(network, batch)
        for name in FAST:
            with seeded(0, name, 0):
                maps = METHODS[name].compute(network, batch.images, batch.query, classes)
            if maps is None:
                assert (name, attn) == ("attention", "none")
                continue
            assert maps.shape[0] == 4
            assert maps.ndim == 3
            assert torch.isfinite(maps).all()
            assert (maps >= 0).all()


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


def brightness_in_a_corner(images, query):
    """Return logits whose first class sees the upper left quarter alone."""
    side = images.shape[-1] // 2
    seen = images[:, :, :side, :side].mean((1, 2, 3))
    return torch.stack([4 * seen, *[torch.full_like(seen, 2)] * 4], dim=1)


@pytest.mark.parametrize("name", ["gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "occlusion"])
def test_a_method_finds_the_only_pixels_that_matter(name):
    torch.manual_seed(0)
    network = ExplainedNetwork(brightness_in_a_corner, 5)
    images, query = 0.5 + 0.5 * torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)
    maps = METHODS[name].compute(network, images, query, torch.zeros(2, dtype=torch.long))
    inside = maps[:, :16, :16].sum((1, 2)) / maps.sum((1, 2))
    assert (inside > (0.7 if name == "occlusion" else 0.999)).all()


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


def test_a_network_without_convolutions_has_no_gradcam():
    network = ExplainedNetwork(brightness_in_a_corner, 5)
    images = torch.rand(2, 3, 16, 16)
    assert captum_methods.gradcam(network, images, torch.zeros(2).long(), torch.zeros(2).long()) is None


def test_frozen_restores_modes_and_gradients():
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


def test_names_of_methods():
    assert [method.name for method in find_methods("gradcam,uniform")] == ["gradcam", "uniform"]
    assert len(find_methods("all")) == len(METHODS)
    with pytest.raises(UsageProblemError, match="did you mean 'gradcam'"):
        find_methods("grad-cam")
    with pytest.raises(UsageProblemError, match="twice"):
        find_methods("gradcam,gradcam")
    with pytest.raises(UsageProblemError, match="no map method"):
        find_method("")


def test_tables_have_this_order():
    gradients = ["gradient", "input-x-gradient", "smoothgrad", "integrated-gradients", "gradcam", "occlusion"]
    assert list(METHODS) == ["attention", *gradients, "rise", "uniform", "center", "random"]
    assert list(DEFAULT_METHODS) == FAST
    assert [name for name, method in METHODS.items() if method.is_baseline] == ["uniform", "center", "random"]
    assert all(method.source or method.is_baseline for method in METHODS.values())


def test_names_of_methods_need_no_torch():
    code = "import sys; from bench.attribution.methods import METHODS; "
    code += "print(len(METHODS), {'torch', 'numpy', 'captum'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(METHODS)), "set()"]


def test_a_decorated_function_is_a_method():
    """Its name is that of the function, and it can be called like the function."""

    @map_method("the red channel", "nowhere", is_slow=True, caution="none")
    def red_channel(network, images, query, classes):
        return images[:, 0]

    assert (red_channel.name, red_channel.summary, red_channel.source) == ("red-channel", "the red channel", "nowhere")
    assert (red_channel.is_slow, red_channel.is_baseline, red_channel.caution) == (True, False, "none")
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(red_channel(None, images, None, None), images[:, 0])
