"""Registry of map methods: their functions. Names and descriptions are in `bench.attribution.method_names`.

Shapes: B questions, each about its own image of H × W pixels. A map is f4 (B, h, w), finite and not negative; h × w may
be smaller than the image, and the map is then upsampled as an attention map is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from bench.attribution import captum_methods, rise
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.method_names import DESCRIPTIONS, MethodDescription
from mnistref.common.errors import UsageProblemError, did_you_mean

Compute: TypeAlias = Callable[[ExplainedNetwork, Tensor, Tensor, Tensor], Tensor | None]
"""(network, images f4 (B, 3, H, W), query i8 (B,), classes i8 (B,)) → maps; None if the network has no such map."""

_CENTER_SIGMA = 0.25
"""Standard deviation of the center map, as a share of the image's side."""


@dataclass(frozen=True, kw_only=True)
class MapMethod(MethodDescription):
    """A method that gives a map for each question: its description, and `compute`, its function."""

    compute: Compute


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


_COMPUTE: dict[str, Compute] = {
    "attention": _attention,
    "gradient": captum_methods.gradient,
    "input-x-gradient": captum_methods.input_x_gradient,
    "smoothgrad": captum_methods.smoothgrad,
    "integrated-gradients": captum_methods.integrated_gradients,
    "gradcam": captum_methods.gradcam,
    "occlusion": captum_methods.occlusion,
    "rise": rise.rise,
    "uniform": _uniform,
    "center": _center,
    "random": _random,
}

METHODS: dict[str, MapMethod] = {
    name: MapMethod(**vars(description), compute=_COMPUTE[name]) for name, description in DESCRIPTIONS.items()
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
