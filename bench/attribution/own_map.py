"""The network's own map as a map method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attribution.map_method import map_method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork

_SEGMENTING_LEVELS = 2
"""Number of levels whose maps LTPA multiplies to segment an image (§5.4)."""


@map_method(
    "the network's own map: the product of the maps of all slots",
    "the papers of the mechanisms",
    absence="no map of its own",
)
def attention(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return the network's own map at image size; None if it has none."""
    return network.attention(images, query)


@map_method(
    "the root of the product of the last two levels' maps, by which LTPA segments images",
    "LTPA §5.4",
    absence="fewer than two levels",
)
def two_levels(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return the map of the last two levels at image size; None if the network has no such levels."""
    return network.attention(images, query, last=_SEGMENTING_LEVELS) if network.levels >= _SEGMENTING_LEVELS else None
