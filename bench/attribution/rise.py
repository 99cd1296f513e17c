"""RISE: Randomized Input Sampling for Explanation (Petsiuk et al., BMVC 2018, §3). Captum does not have it.

PyTorch is imported when the method is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.attribution.map_method import map_method

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork

_MASKS = 500
"""Number of random masks."""
_CELLS = 7
"""Cells of a mask per side."""
_KEPT = 0.5
"""Probability that a cell is kept."""


@map_method(
    f"mean of {_MASKS} random masks, weighted by the probability of the class on the masked image",
    "Petsiuk et al., 2018",
    is_slow=True,
    caution="The map is a mean of masks and nowhere near zero, so its mass is nearly that of the uniform map.",
)
def rise(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return Σ p_i M_i / (N · E[M]), where p_i is the probability of the class on the image times mask M_i.

    All images of the batch share the masks.

    Args:
        network: the network.
        images: f4 (B, 3, H, W).
        query: i8 (B,).
        classes: i8 (B,), the explained classes.

    Returns:
        Maps f4 (B, H, W).
    """
    size = (images.shape[2], images.shape[3])
    total = images.new_zeros(len(images), *size)
    for _ in range(_MASKS):
        mask = random_mask(size).to(images.device)
        share = network.probabilities(images * mask, query).gather(1, classes[:, None])
        total += share[:, :, None] * mask
    return total / (_MASKS * _KEPT)


def random_mask(size: tuple[int, int]) -> Tensor:
    """Return a mask f4 (H, W) in 0 … 1: random cells, upsampled bilinearly and shifted by a part of a cell (§3.3)."""
    import torch
    from torch.nn import functional as F

    cell_height, cell_width = -(-size[0] // _CELLS), -(-size[1] // _CELLS)
    cells = (torch.rand(1, 1, _CELLS, _CELLS) < _KEPT).float()
    larger = ((_CELLS + 1) * cell_height, (_CELLS + 1) * cell_width)
    top, left = int(torch.randint(cell_height, ())), int(torch.randint(cell_width, ()))
    whole = F.interpolate(cells, larger, mode="bilinear", align_corners=False)[0, 0]
    return whole[top : top + size[0], left : left + size[1]]
