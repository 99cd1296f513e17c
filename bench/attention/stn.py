"""Spatial transformers: attention as a window cut out of the features (STN-S, STN-M).

Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, §3.1–3.3, as PAN §4.1 compares with. Decided here: the
localisation net is one 3×3 convolution, averages over a 4 × 4 grid and a perceptron which the query enters before its
ReLU; θ has all six numbers, starts as the identity, and is bounded: the window's centre stays in the image, and it is
stretched twice at most, since a window that has left the image sees only zeros and has no gradient by which to come
back. What lies outside is 0; the window has the map's size. The map is the window, 1 inside and 0 outside, as it lies
in the image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.base import Changed, QueryEmbedding, same_conv
from bench.attention.options import at_least_one


class SpatialTransformer(nn.Module):
    """θ = MLP(features, query); the features are sampled bilinearly at θ · (x, y, 1).

    Args:
        channels: C of the features.
        query_dim: Q, the width of the one-hot query; 0 for none.
        hidden: width of the localisation net; 1 or more.
        grid: it sees averages over so many by so many cells; 1 or more.
        padding: what its convolution sees outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, hidden: int = 32, grid: int = 4, padding: str = "zeros"
    ) -> None:
        super().__init__()
        at_least_one(hidden=hidden, grid=grid)
        self.features = same_conv(channels, hidden, 3, padding)
        self.grid = grid
        self.locate = nn.Linear(hidden * grid**2, hidden)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.theta = nn.Linear(hidden, 6)
        nn.init.zeros_(self.theta.weight)
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What does not depend on the query: x, and what the localisation net sees in it, (B, hidden)."""
        seen = F.adaptive_avg_pool2d(self.features(x).relu(), self.grid).flatten(1)
        return x, self.locate(seen)

    def answer(self, prepared: tuple[Tensor, Tensor], query: Tensor | None = None) -> Changed:
        """The rest: of `prepare`, query (B, Q) → the window's features, (B, C, H, W)."""
        x, seen = prepared
        theta = bounded(self.theta((seen + self.embedding(x, query)).relu()).view(-1, 2, 3))
        return Changed(transform(x, theta), x.new_ones(x.shape[0], 1, *x.shape[2:]), theta)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """x (B, C, H, W), query (B, Q) → the window's features, of the same size."""
        return self.answer(self.prepare(x), query)


def bounded(numbers: Tensor) -> Tensor:
    """Any (B, 2, 3) → θ, in −2 … 2 and, for the window's centre, −1 … 1; the identity stays what it is."""
    soft = numbers / (1 + numbers.abs())
    return torch.cat([2 * soft[..., :2], soft[..., 2:]], dim=-1)


def transform(x: Tensor, theta: Tensor) -> Tensor:
    """Sample x (B, C, H, W) where θ (B, 2, 3) says, in −1 … 1 from edge to edge (Eq. 1 and 5); the same size."""
    if not len(x):  # PyTorch makes no grid for an empty batch
        return x
    if x.dtype in (torch.bfloat16, torch.float16):  # positions need more digits than features
        return transform(x.float(), theta.float()).to(x.dtype)
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
