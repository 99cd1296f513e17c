"""Attention over channels, as common baselines: SE, ECA, coordinate attention, FiLM.

All but FiLM ignore the query; a network in which no mechanism uses the query appends it before the classifier. In the
last slot the features are averaged afterwards.

Decisions where the papers leave a choice, or where 32 channels need another value:

- The reduction is 4, where the papers have 16 (SE) and 32 (coordinate attention).
- SE has the biases of torchvision, which the paper omits.
- The kernel of ECA is an option. Its default 3 is the value of the paper's rule for C (Eq. 12) at 32 channels.
- The map of coordinate attention is the mean over the channels of the factors.
- FiLM's γ and β have no biases, because a one-hot query makes them redundant, and the factor is 1 + γ. As in the blocks
  of its paper, FiLM follows a batch normalisation without weights and is followed by a ReLU: without normalisation the
  features would be small compared with β.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from bench.attention.base import Changed
from bench.attention.layers import QueryEmbedding
from bench.attention.options import require_at_least_one


class SqueezeExcite(nn.Module):
    """features · σ(W₂ ReLU(W₁ mean)), torchvision's module.

    Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, Eq. 2–4.

    Args:
        channels: C, channels of the features.
        query_dim: ignored.
        reduction: C divided by the width of the hidden layer; 1 or more.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4) -> None:
        super().__init__()
        require_at_least_one(reduction=reduction)
        self.excite = SqueezeExcitation(channels, max(1, channels // reduction))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """Return features of the size of x (B, C, H, W), without a map."""
        return Changed(self.excite(x))


class EfficientChannelAttention(nn.Module):
    """features · σ(conv1d over the channel means), without bias.

    Wang et al., "ECA-Net", CVPR 2020, Eq. 9.

    Args:
        channels: C, channels of the features.
        query_dim: ignored.
        kernel: number of neighbouring channels; odd.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, kernel: int = 3) -> None:
        super().__init__()
        require_at_least_one(kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel}: give an odd number")
        self.neighbours = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """Return features of the size of x (B, C, H, W), without a map."""
        gate = self.neighbours(x.mean(dim=(2, 3)).unsqueeze(1)).sigmoid()
        return Changed(x * gate.squeeze(1)[:, :, None, None])


class CoordinateAttention(nn.Module):
    """features · σ(g^h) · σ(g^w), from means along rows and columns.

    Hou et al., "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021, Eq. 4–9.

    Args:
        channels: C, channels of the features.
        query_dim: ignored.
        reduction: C divided by the width of the hidden layer, which is 8 at least, as in the authors' code; 1 or more.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4) -> None:
        super().__init__()
        require_at_least_one(reduction=reduction)
        width = max(8, channels // reduction)
        self.both = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.to_rows = nn.Conv2d(width, channels, 1)
        self.to_columns = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """Return features of the size of x (B, C, H, W), and the map (B, 1, H, W)."""
        height, width = x.shape[2:]
        strips = torch.cat([x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = torch.split(nn.functional.hardswish(self.norm(self.both(strips))), [height, width], dim=2)
        gate = self.to_rows(rows).sigmoid() * self.to_columns(columns.transpose(2, 3)).sigmoid()
        return Changed(x * gate, gate.mean(dim=1, keepdim=True))


class FiLM(nn.Module):
    """ReLU((1 + γ(q)) · features + β(q)), channel by channel, over normalised features. No map.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, Eq. 1–2.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; with 0, γ and β are 0.
    """

    def __init__(self, channels: int, query_dim: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = QueryEmbedding(query_dim, channels)
        self.shift = QueryEmbedding(query_dim, channels)

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query: normalised features (B, C, H, W)."""
        normalised: Tensor = self.norm(x)
        return normalised

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Changed:
        """Return the features (B, C, H, W) of `prepared` for the query (B, Q)."""
        scale, shift = (part(prepared, query)[:, :, None, None] for part in (self.scale, self.shift))
        return Changed((prepared * (1 + scale) + shift).relu())

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """Return features of the size of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)
