"""Class activation maps of networks that end in average pooling and one linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attribution.map_method import map_method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork


@map_method(
    "class activation map: the last features, weighted by the class's weights in the last layer, above their minimum",
    "Zhou et al., 2016",
    absence="no class activation map, because it does not end in average pooling and one linear layer",
)
def cam(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return the class activation map minus its minimum, (B, h, w); None for networks that end in another way.

    The minimum is subtracted because maps are not negative. It changes neither the order of the pixels nor what lies
    above Otsu's threshold.
    """
    activation = class_activation(network, images, query, classes)
    return None if activation is None else activation - activation.amin((1, 2), keepdim=True)


def class_activation(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
    """Return Σ_c w_c · f_c of the last features f and the weights w of the explained class, (B, h, w).

    The score of the class is the mean over positions of its map, plus the bias and the part of the query, which are the
    same at every position.
    """
    import torch

    from bench.attention.base import AverageReadout
    from bench.model import SlotNetwork
    from bench.networks.heads import LinearHead

    model = network.network
    if not isinstance(model, SlotNetwork):
        return None
    readout, head = model.readout, model.head
    if not isinstance(readout, AverageReadout) or not isinstance(head, LinearHead):
        return None
    kept: list[Tensor] = []
    handle = readout.register_forward_pre_hook(lambda _, given: kept.append(given[0][-1]))
    try:
        with torch.no_grad():
            network.output(images, query)
    finally:
        handle.remove()
    (features,) = kept
    weights = head.classify.weight[classes, : features.shape[1]]
    return torch.einsum("bc,bchw->bhw", weights, features)
