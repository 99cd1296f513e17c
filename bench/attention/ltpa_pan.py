"""Progressive attention as the LTPA paper compares with it: VGG-PAN.

Jetley et al., "Learn to Pay Attention", ICLR 2018, §4 and App. A.2, and the authors' program. In a gate, the features l
are multiplied by σ(⟨u, l + g⟩), where convolutions of the slot's own compute the global feature g of the image from l.
In the last slot, they are weighted by the softmax of ⟨u, l + g⟩.

Decisions where the paper leaves a choice:

- The tail that computes g is that of the authors' program: max pooling to 4 × 4 positions, twice a 3×3 convolution with
  BatchNorm, ReLU, dropout and a 2×2 max pooling, then dropout and a linear layer. For maps of 16 and 8 positions, the
  first pooling is theirs, of 4 × 4 and 2 × 2.
- Convolutions before BatchNorm have no bias, which would have no effect.
- The softmax of the last slot cancels ⟨u, g⟩, see `bench.attention.ltpa`. There, the tail is left out.
- The query is not used. Therefore the network appends it before the classifier.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POSITIONS = 4
"""Largest side of the map after the first pooling of the tail."""
BATCH_NORM_EPS = 1e-3
"""BatchNorm's ε after convolutions in the authors' program."""


class Tail(nn.Module):
    """The layers that compute the global feature g from the features of a slot.

    Args:
        channels: C, channels of the features; g has as many numbers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stage(channels) for _ in range(2))
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return g (B, C) of features (B, C, H, W)."""
        kernel = [-(-side // POSITIONS) for side in x.shape[2:]]
        x = F.max_pool2d(x, kernel, ceil_mode=True)
        for stage in self.stages:
            x = F.max_pool2d(stage(x), 2, ceil_mode=True)
        g: Tensor = self.linear(self.dropout(x.mean(dim=(2, 3))))
        return g


class GlobalScore(nn.Module):
    """Score = ⟨u, l + g⟩ + b, with a global feature g of the slot's own.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query, which is ignored.
        tail: true computes g, false leaves it out. The last slot has none, because the softmax cancels it.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, tail: bool = True) -> None:
        super().__init__()
        self.tail = Tail(channels) if tail else None
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of x (B, C, H, W). The query is ignored."""
        score: Tensor = self.score(x if self.tail is None else x + self.tail(x)[:, :, None, None])
        return score


def _stage(channels: int) -> nn.Sequential:
    """Return a convolution, BatchNorm, ReLU and dropout."""
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(channels, BATCH_NORM_EPS), nn.ReLU(), nn.Dropout(0.4))
