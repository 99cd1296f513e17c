"""Attention over channels, which users compare with today: SE, ECA, coordinate attention, FiLM.

All but FiLM know no query; a network in which nothing sees it appends it before the classifier. In the last slot the
features are averaged afterwards. Decided here: for 32 channels the reduction is 4, where the papers have 16 (SE) and 32
(coordinate attention); SE has torchvision's biases, which the paper leaves out; ECA's kernel is an option, and its 3 is
what the paper's rule for C (Eq. 12) gives for 32 channels; coordinate attention's map is the mean over the channels of
what they are multiplied with; FiLM's γ and β have no biases, which a one-hot query makes needless, and it multiplies
with 1 + γ. As in its paper's blocks FiLM follows a batch normalisation without weights and is followed by a ReLU:
features as they come are small, and β would drown them.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from bench.attention.base import Changed, QueryEmbedding
from bench.attention.options import at_least_one


class SqueezeExcite(nn.Module):
    """features · σ(W₂ ReLU(W₁ mean)) (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, Eq. 2–4); torchvision's.

    Args:
        channels: C. query_dim: not used.
        reduction: C over the hidden layer's width; 1 or more.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4) -> None:
        super().__init__()
        at_least_one(reduction=reduction)
        self.excite = SqueezeExcitation(channels, max(1, channels // reduction))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """x (B, C, H, W) → features of the same size, no map."""
        return Changed(self.excite(x))


class EfficientChannelAttention(nn.Module):
    """features · σ(conv1d over the channels' means) (Wang et al., "ECA-Net", CVPR 2020, Eq. 9), without bias.

    Args:
        channels: C. query_dim: not used.
        kernel: how many neighbouring channels; odd.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, kernel: int = 3) -> None:
        super().__init__()
        at_least_one(kernel=kernel)
        if kernel % 2 == 0:
            raise ValueError(f"a kernel of {kernel} has no middle; give an odd one")
        self.neighbours = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """x (B, C, H, W) → features of the same size, no map."""
        gate = self.neighbours(x.mean(dim=(2, 3)).unsqueeze(1)).sigmoid()
        return Changed(x * gate.squeeze(1)[:, :, None, None])


class CoordinateAttention(nn.Module):
    """features · σ(g^h) · σ(g^w), from means along rows and columns (Hou et al., CVPR 2021, Eq. 4–9).

    Args:
        channels: C. query_dim: not used.
        reduction: C over the width between (8 at least, as in the paper's program); 1 or more.
    """

    uses_query = False

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4) -> None:
        super().__init__()
        at_least_one(reduction=reduction)
        width = max(8, channels // reduction)
        self.both = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.to_rows = nn.Conv2d(width, channels, 1)
        self.to_columns = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """x (B, C, H, W) → features of the same size, and the map (B, 1, H, W)."""
        height, width = x.shape[2:]
        strips = torch.cat([x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = nn.functional.hardswish(self.norm(self.both(strips))).split([height, width], dim=2)
        gate = self.to_rows(rows).sigmoid() * self.to_columns(columns.transpose(2, 3)).sigmoid()
        return Changed(x * gate, gate.mean(dim=1, keepdim=True))


class FiLM(nn.Module):
    """ReLU((1 + γ(q)) · features + β(q)), channel by channel, of normalised features. No map.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, Eq. 1–2.

    Args:
        channels: C. query_dim: Q, the width of the query; with 0, γ and β are 0.
    """

    def __init__(self, channels: int, query_dim: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = QueryEmbedding(query_dim, channels)
        self.shift = QueryEmbedding(query_dim, channels)

    def prepare(self, x: Tensor) -> Tensor:
        """What does not depend on the query: normalised features, (B, C, H, W)."""
        return self.norm(x)

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Changed:
        """The rest: of `prepare`, query (B, Q) → features (B, C, H, W)."""
        scale, shift = (part(prepared, query)[:, :, None, None] for part in (self.scale, self.shift))
        return Changed((prepared * (1 + scale) + shift).relu())

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """x (B, C, H, W), query (B, Q) → features of the same size."""
        return self.answer(self.prepare(x), query)
