"""Deletion and insertion: does the answer change when the pixels that a map shows are removed or added?

Petsiuk et al., BMVC 2018, §4.2. Shapes: B questions, each about its own image of H × W pixels; a map orders the pixels.
"""

import torch
from torch import Tensor

from bench.attribution.explained_network import ExplainedNetwork

CURVE_STEPS = 10
"""Number of steps from all pixels to none."""
_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0


def deletion(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
    """Return the probability of the class while the pixels become black, the highest scores first.

    Args:
        network: the network.
        images: f4 (B, 3, H, W).
        query: i8 (B,).
        classes: i8 (B,), the explained classes.
        scores: (B, H, W). Pixels with equal scores are ordered row by row.

    Returns:
        (B, CURVE_STEPS + 1), from the whole image to a black one. A good map gives a small mean.
    """
    return _curve(network, images, end=torch.zeros_like(images), query=query, classes=classes, scores=scores)


def insertion(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor, scores: Tensor) -> Tensor:
    """Return the probability of the class while a blurred image becomes sharp, the highest scores first.

    The arguments are those of `deletion`. The first value is for the blurred image, the last one for the sharp image. A
    good map gives a large mean.
    """
    from torchvision.transforms.v2.functional import gaussian_blur  # its import takes seconds; tables do not need it

    blurred = gaussian_blur(images, [_BLUR_KERNEL, _BLUR_KERNEL], [_BLUR_SIGMA, _BLUR_SIGMA])
    return _curve(network, blurred, end=images, query=query, classes=classes, scores=scores)


def area(curve: Tensor) -> Tensor:
    """Return the area below curves (B, CURVE_STEPS + 1) over the share of pixels, (B,) in 0 … 1: trapezoidal rule."""
    return torch.trapezoid(curve.double(), dx=1 / CURVE_STEPS, dim=1)


def _curve(
    network: ExplainedNetwork, start: Tensor, end: Tensor, query: Tensor, classes: Tensor, scores: Tensor
) -> Tensor:
    order = scores.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    rank = rank.view(len(scores), 1, *scores.shape[1:])
    points = []
    for step in range(CURVE_STEPS + 1):
        changed = rank < round(step * order.shape[1] / CURVE_STEPS)
        shares = network.probabilities(torch.where(changed, end, start), query)
        points.append(shares.gather(1, classes[:, None]).squeeze(1))
    return torch.stack(points, dim=1)
