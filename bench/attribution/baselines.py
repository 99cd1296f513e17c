"""Maps that ignore the network: a map method that is not better than these shows nothing.

PyTorch is imported when a method is used. Shapes as in `bench.attribution.map_method`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attribution.map_method import map_method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork

_CENTER_SIGMA = 0.25
"""Standard deviation of the center map, as a share of the image's side."""


@map_method("the same score everywhere", is_baseline=True)
def uniform(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return ones, (B, 1, 1)."""
    return images.new_ones(len(images), 1, 1)


@map_method("a Gaussian in the middle of the image, σ a quarter of its side", is_baseline=True)
def center(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return the same Gaussian for each image, (B, H, W)."""
    import torch

    height, width = images.shape[2:]
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(side) + 0.5 - side / 2) / (_CENTER_SIGMA * side)) ** 2)
        for side in (height, width)
    )
    return (rows[:, None] * columns).to(images.device).expand(len(images), -1, -1)


@map_method("independent uniform numbers", is_baseline=True)
def random(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return random numbers in 0 … 1, (B, H, W)."""
    import torch

    return torch.rand(len(images), *images.shape[2:]).to(images.device)
