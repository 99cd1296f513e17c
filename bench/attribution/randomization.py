"""Sanity check of map methods: does the map change if the weights become random, layer by layer from the answer down?

Adebayo et al., NeurIPS 2018, "cascading randomization". A map that stays the same does not depend on what the network
has learned.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from bench.attribution.explain import seeded
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import MapMethod
from bench.attribution.measures import normalize
from bench.data.split import Batch
from bench.model import SlotNetwork


def cascade(
    network: ExplainedNetwork, batch: Batch, methods: Sequence[MapMethod], seed: int = 0
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the name of each randomised layer, and the rank correlation of each method's maps with the original ones.

    The layers are randomised one after the other and remain randomised. The explained classes are the answers of the
    trained network. The network itself is not changed.

    Args:
        network: the trained network.
        batch: one question about each of B images.
        methods: the methods; those without a map for this network are left out.
        seed: seed of the random weights.

    Yields:
        (layer, method → Spearman's correlation over the pixels of each image, f8 (B,)). The correlation of a
            constant map is 0.
    """
    changed = copy.deepcopy(network)
    size = (batch.images.shape[2], batch.images.shape[3])

    def maps() -> dict[str, Tensor]:
        made = {}
        for method in methods:
            with seeded(seed, method.name, 0):
                found = method.compute(changed, batch.images, batch.query, classes)
            if found is not None:
                made[method.name] = normalize(found, size)
        return made

    with changed.frozen():
        classes = changed.probabilities(batch.images, batch.query).argmax(1)
        before = maps()
        for name, module in layers_from_the_answer(changed.network):
            with seeded(seed, name, 0):
                randomize(module)
            yield name, {method: rank_correlation(before[method], now) for method, now in maps().items()}


def layers_from_the_answer(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules with own parameters, from the answer to the image.

    A network of bench gives its stages and slots in the order of its computation, reversed. The modules of a slot, and
    those of another network, are in the reverse order of their definition.
    """
    named = [
        (name, module)
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]

    if not isinstance(network, SlotNetwork):
        return named[::-1]
    positions = {id(module): k for k, (_, module) in enumerate(named)}

    def depth(entry: tuple[str, nn.Module]) -> float:
        part, *rest = entry[0].split(".")
        if part == "gates":
            layer = network.layer_before(int(rest[0]))
            return max(positions[id(module)] for module in layer.modules() if id(module) in positions) + 0.5
        return {"readout": len(named), "head": len(named) + 1}.get(part, positions[id(entry[1])])

    return sorted(named, key=depth)[::-1]


def randomize(module: nn.Module) -> None:
    """Draw the module's own parameters anew: by its `reset_parameters`, or from a normal distribution.

    The normal distribution has the mean and the standard deviation of the trained values.
    """
    reset = getattr(module, "reset_parameters", None)
    with torch.no_grad():
        if callable(reset):
            reset()
            return
        for parameter in module.parameters(recurse=False):
            spread = float(parameter.std()) if parameter.numel() > 1 else 1.0
            parameter.normal_(float(parameter.mean()), spread)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's correlation of the pixels of each image, f8 (B,); equal pixels share their mean rank.

    Args:
        first: (B, H, W).
        second: (B, H, W).
    """
    a, b = (_mean_ranks(scores.flatten(1)) for scores in (first, second))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    product = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(product > 0, (a * b).sum(1) / product.clamp_min(1), 0.0)


def _mean_ranks(flat: Tensor) -> Tensor:
    """Return the rank of each value in its row, f8 (B, P)."""
    ordered = flat.sort(dim=1).values.contiguous()
    flat = flat.contiguous()
    low = torch.searchsorted(ordered, flat)
    high = torch.searchsorted(ordered, flat, right=True)
    return (low + high - 1).double() / 2
