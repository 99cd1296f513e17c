"""Registry of map methods. To add one, add an entry to `METHODS`.

Shapes: B questions, each about its own image of H × W pixels. A map is f4 (B, h, w), finite and not negative; h × w may
be smaller than the image, and the map is then upsampled as an attention map is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from bench.attribution import captum_methods, rise
from bench.attribution.explained import ExplainedNetwork
from mnistref.common.errors import UsageProblemError, did_you_mean

Compute: TypeAlias = Callable[[ExplainedNetwork, Tensor, Tensor, Tensor], Tensor | None]
"""(network, images f4 (B, 3, H, W), query i8 (B,), classes i8 (B,)) → maps; None if the network has no such map."""

_CENTER_SIGMA = 0.25
"""Standard deviation of the center map, as a share of the image's side."""


@dataclass(frozen=True)
class MapMethod:
    """A method that gives a map for each question.

    Attributes:
        name: name on the command line and in records.
        summary: what it computes, one line.
        source: the paper, or "" for a baseline.
        compute: the function.
        is_baseline: whether the map ignores the network. A method that is not better than these shows nothing.
        is_slow: whether it needs hundreds of forward passes for each question.
        caution: when its scores are misleading; "" if no such case is known.
    """

    name: str
    summary: str
    source: str
    compute: Compute
    is_baseline: bool = False
    is_slow: bool = False
    caution: str = ""


def _attention(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    return network.attention(images, query)


def _uniform(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    return images.new_ones(len(images), 1, 1)


def _random(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    return torch.rand(len(images), *images.shape[2:]).to(images.device)


def _center(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    height, width = images.shape[2:]
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(side) + 0.5 - side / 2) / (_CENTER_SIGMA * side)) ** 2)
        for side in (height, width)
    )
    return (rows[:, None] * columns).to(images.device).expand(len(images), -1, -1)


_ON_BLACK = (
    "On a black background, the product with the image is zero wherever nothing is drawn, whatever the network does."
)

METHODS: dict[str, MapMethod] = {
    method.name: method
    for method in (
        MapMethod(
            "attention",
            "the network's own map: the product of the maps of all slots",
            "the papers of the mechanisms",
            _attention,
        ),
        MapMethod(
            "gradient",
            "largest magnitude over the colour channels of the gradient of the class's score",
            "Simonyan et al., 2014",
            captum_methods.gradient,
        ),
        MapMethod(
            "input-x-gradient",
            "magnitude of the sum over the colour channels of gradient × pixel",
            "Shrikumar et al., 2016",
            captum_methods.input_x_gradient,
            caution=_ON_BLACK,
        ),
        MapMethod(
            "smoothgrad",
            f"`gradient`, averaged over {captum_methods.SMOOTH_SAMPLES} images with noise",
            "Smilkov et al., 2017",
            captum_methods.smoothgrad,
        ),
        MapMethod(
            "integrated-gradients",
            f"`input-x-gradient`, averaged over {captum_methods.PATH_STEPS} steps from a black image to the image",
            "Sundararajan et al., 2017",
            captum_methods.integrated_gradients,
            caution=_ON_BLACK,
        ),
        MapMethod(
            "gradcam",
            "positive part of the last convolution's features, weighted by their mean gradients",
            "Selvaraju et al., 2017",
            captum_methods.gradcam,
        ),
        MapMethod(
            "occlusion",
            f"how much a black square of {captum_methods.SQUARE} × {captum_methods.SQUARE} pixels lowers the score",
            "Zeiler and Fergus, 2014",
            captum_methods.occlusion,
            is_slow=True,
        ),
        MapMethod(
            "rise",
            f"mean of {rise.MASKS} random masks, weighted by the probability of the class on the masked image",
            "Petsiuk et al., 2018",
            rise.rise,
            is_slow=True,
            caution="The map is a mean of masks and nowhere near zero, so its mass is nearly that of the uniform map.",
        ),
        MapMethod("uniform", "the same score everywhere", "", _uniform, is_baseline=True),
        MapMethod(
            "center", "a Gaussian in the middle of the image, σ a quarter of its side", "", _center, is_baseline=True
        ),
        MapMethod("random", "independent uniform numbers", "", _random, is_baseline=True),
    )
}


def find_methods(names: str) -> list[MapMethod]:
    """Return the methods of a list of names, separated by commas; `all` for all of them.

    Raises:
        UsageProblemError: there is no such method, or one is named twice.
    """
    if names == "all":
        return list(METHODS.values())
    found: dict[str, MapMethod] = {}
    for name in names.split(","):
        if name in found:
            raise UsageProblemError(f"map method {name} is named twice")
        found[name] = find_method(name)
    return list(found.values())


def find_method(name: str) -> MapMethod:
    """Return the method of this name.

    Raises:
        UsageProblemError: there is no such method.
    """
    if name not in METHODS:
        raise UsageProblemError(f"no map method {name!r}: {did_you_mean(name, list(METHODS))}")
    return METHODS[name]
