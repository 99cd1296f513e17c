"""Maps from Captum's attribution methods. Captum is imported when a method is used.

Shapes as in `bench.attribution.methods`. Each function takes the network, images f4 (B, 3, H, W), query i8 (B,), and
the explained classes i8 (B,), and returns maps (B, h, w) that are not negative. The explained score is that of the
class before the softmax.
"""

from typing import Any

import torch
from torch import Tensor

from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.method_names import OCCLUSION_PIXELS, PATH_STEPS, SMOOTH_SAMPLES
from mnistref.common.errors import UsageProblemError

_SMOOTH_SIGMA = 0.15
"""Standard deviation of the noise of `smoothgrad`. The range of pixels is 1, and the paper recommends 10–20 % of it."""
STRIDE = 4
_IMAGES_PER_PASS = 200
"""Maximal number of images in one forward pass of `integrated_gradients`."""


def _attr() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise UsageProblemError("post-hoc maps need Captum: pip install captum") from error
    return attr


def _magnitude(attribution: Tensor) -> Tensor:
    """Return the magnitude of the sum over the colour channels, (B, H, W)."""
    return attribution.sum(1).abs()


def gradient(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return the largest magnitude of the gradient over the colour channels."""
    images = images.clone().requires_grad_()
    found: Tensor = _attr().Saliency(network.scores).attribute(images, classes, additional_forward_args=query)
    return found.detach().amax(1)


def input_x_gradient(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return |Σ over channels of gradient · pixel|."""
    method = _attr().InputXGradient(network.scores)
    images = images.clone().requires_grad_()
    return _magnitude(method.attribute(images, classes, additional_forward_args=query).detach())


def smoothgrad(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return `gradient`, averaged over images with Gaussian noise."""
    attr = _attr()
    found: Tensor = attr.NoiseTunnel(attr.Saliency(network.scores)).attribute(
        images,
        nt_type="smoothgrad",
        nt_samples=SMOOTH_SAMPLES,
        nt_samples_batch_size=1,
        stdevs=_SMOOTH_SIGMA,
        target=classes,
        additional_forward_args=query,
    )
    return found.detach().amax(1)


def integrated_gradients(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return |Σ over channels of pixel · mean gradient| on the straight path from a black image to the image."""
    found: Tensor = (
        _attr()
        .IntegratedGradients(network.scores)
        .attribute(
            images,
            baselines=0,
            target=classes,
            additional_forward_args=query,
            n_steps=PATH_STEPS,
            internal_batch_size=max(_IMAGES_PER_PASS, len(images)),
        )
    )
    return _magnitude(found.detach()).float()


def gradcam(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return Grad-CAM of the network's layer at its own resolution; None if the network has no convolution."""
    if network.layer is None:
        return None
    method = _attr().LayerGradCam(network.scores, network.layer)
    found: Tensor = method.attribute(images, classes, additional_forward_args=query, relu_attributions=True)
    return found.detach().squeeze(1)


def occlusion(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return how much a black square over the pixel lowers the score, averaged over the squares that cover it."""
    with torch.no_grad():
        found: Tensor = (
            _attr()
            .Occlusion(network.scores)
            .attribute(
                images,
                sliding_window_shapes=(images.shape[1], OCCLUSION_PIXELS, OCCLUSION_PIXELS),
                strides=(images.shape[1], STRIDE, STRIDE),
                baselines=0,
                target=classes,
                additional_forward_args=query,
            )
        )
    return found.detach().mean(1).clamp_min(0)
