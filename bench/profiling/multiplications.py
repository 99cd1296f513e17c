"""How often a network multiplies for one image. It follows from the layers, so that no time is measured."""

from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.attention import NetworkSpec
from bench.attention.arnn import AttentionRNN
from bench.networks import create


@lru_cache(maxsize=64)
def count_multiplications(network: NetworkSpec, classes: int, queries: int, size: tuple[int, int]) -> int:
    """Return how often convolutions, linear layers, matrix products and diagonal LSTMs multiply for one image.

    Products of single numbers, such as those of features and a map, are not counted. Nothing is computed: the network
    has shapes, but no values.

    Args:
        network: mechanisms, architecture and width, see `bench.networks.resolve`.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        size: (H, W) of the image in pixels.
    """
    with torch.device("meta"):
        model = create(network, classes, queries, size).eval()
    of_lstms: list[int] = []
    for module in model.modules():
        if isinstance(module, AttentionRNN):
            module._states = partial(_count_lstms, module, of_lstms)  # type: ignore[method-assign]
    query = torch.zeros(1, dtype=torch.long, device="meta") if queries else None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *size, device="meta"), query)
    return int(counter.get_total_flops()) // 2 + sum(of_lstms)


def _count_lstms(
    attention: AttentionRNN, counts: list[int], prepared: Tensor, query: Tensor | None, readout: Tensor | None = None
) -> Tensor:
    """Append the multiplications of both diagonal LSTMs to `counts`, and return states without values.

    The arguments from `prepared` on are those of the method that computes the states.
    """
    context = attention.local_context(prepared, query)
    directions, gates, _ = attention.kernel_x.shape
    images, channels, m, n = context.shape
    rows = readout.shape[1] if readout is not None else gates // 4
    numbers = directions * gates * channels + attention.kernel_h.numel() + (0 if readout is None else readout.numel())
    counts.append(numbers * m * n)
    return context.new_empty(directions, images, rows, m, n)
