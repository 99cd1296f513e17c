"""Maps from Captum's attribution methods. PyTorch and Captum are imported when a method is used.

Shapes as in `bench.attribution.map_method`. Each function takes the network, images f4 (B, 3, H, W), query i8 (B,), and
the explained classes i8 (B,), and returns maps (B, h, w) that are not negative. The explained score is that of the
class before the softmax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.attribution.map_method import map_method
from mnistref.common.errors import UsageProblemError

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork

_SMOOTH_SAMPLES = 16
_SMOOTH_SIGMA = 0.15
"""Standard deviation of the noise of `smoothgrad`. The range of pixels is 1, and the paper recommends 10–20 % of it."""
_PATH_STEPS = 32
_OCCLUSION_PIXELS = 9
STRIDE = 4
_IMAGES_PER_PASS = 200
"""Maximal number of images in one forward pass of `integrated_gradients`."""


_ON_BLACK = (
    "On a black background, the product with the image is zero wherever nothing is drawn, whatever the network does."
)


def _attr() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise UsageProblemError("post-hoc maps need Captum: pip install captum") from error
    return attr


def _magnitude(attribution: Tensor) -> Tensor:
    """Return the magnitude of the sum over the colour channels, (B, H, W)."""
    return attribution.sum(1).abs()


@map_method("largest magnitude over the colour channels of the gradient of the class's score", "Simonyan et al., 2014")
def gradient(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return the largest magnitude of the gradient over the colour channels."""
    images = images.clone().requires_grad_()
    found: Tensor = _attr().Saliency(network.scores).attribute(images, classes, additional_forward_args=query)
    return found.detach().amax(1)


@map_method(
    "magnitude of the sum over the colour channels of gradient × pixel",
    "Shrikumar et al., 2016",
    caution=_ON_BLACK,
    on_black=True,
)
def input_x_gradient(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return |Σ over channels of gradient · pixel|."""
    method = _attr().InputXGradient(network.scores)
    images = images.clone().requires_grad_()
    return _magnitude(method.attribute(images, classes, additional_forward_args=query).detach())


@map_method(f"as `gradient`, with the mean gradient of {_SMOOTH_SAMPLES} images with noise", "Smilkov et al., 2017")
def smoothgrad(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return the largest magnitude, over the colour channels, of the mean gradient of images with Gaussian noise."""
    attr = _attr()
    found: Tensor = attr.NoiseTunnel(attr.Saliency(network.scores)).attribute(
        images,
        nt_type="smoothgrad",
        nt_samples=_SMOOTH_SAMPLES,
        nt_samples_batch_size=1,
        stdevs=_SMOOTH_SIGMA,
        target=classes,
        additional_forward_args=query,
        abs=False,  # with their signs, gradients of the noise cancel
    )
    return found.detach().abs().amax(1)


@map_method(
    f"`input-x-gradient`, averaged over {_PATH_STEPS} steps from a black image to the image",
    "Sundararajan et al., 2017",
    caution=_ON_BLACK,
    on_black=True,
)
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
            n_steps=_PATH_STEPS,
            internal_batch_size=max(_IMAGES_PER_PASS, len(images)),
        )
    )
    return _magnitude(found.detach()).float()


@map_method(
    "positive part of the last convolution's features, weighted by their mean gradients",
    "Selvaraju et al., 2017",
    absence="no layer that is known to be its last convolution (in Python, name it with `layer`)",
)
def gradcam(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return Grad-CAM of the network's layer at its own resolution; None if the network has no convolution."""
    if network.layer is None:
        return None
    method = _attr().LayerGradCam(network.scores, network.layer)
    found: Tensor = method.attribute(images, classes, additional_forward_args=query, relu_attributions=True)
    return found.detach().squeeze(1)


@map_method(
    f"how much a black square of {_OCCLUSION_PIXELS} × {_OCCLUSION_PIXELS} pixels lowers the score",
    "Zeiler and Fergus, 2014",
    is_slow=True,
)
def occlusion(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return how much a black square over the pixel lowers the score, averaged over the squares that cover it."""
    import torch

    with torch.no_grad():
        found: Tensor = (
            _attr()
            .Occlusion(network.scores)
            .attribute(
                images,
                sliding_window_shapes=(images.shape[1], _OCCLUSION_PIXELS, _OCCLUSION_PIXELS),
                strides=(images.shape[1], STRIDE, STRIDE),
                baselines=0,
                target=classes,
                additional_forward_args=query,
            )
        )
    return found.detach().mean(1).clamp_min(0)
