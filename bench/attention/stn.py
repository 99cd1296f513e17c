"""Spatial transformers: attention as a window that is cut out of the features (STN-S, STN-M).

Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, §3.1–3.3, as in the comparison of PAN §4.1.

Decisions where the papers leave a choice:

- The localisation net is one 3×3 convolution, averages over a 4 × 4 grid, and a perceptron. The query is added before
  the perceptron's ReLU.
- All six numbers of θ are learned, starting at the identity. They are bounded: the centre of the window stays in the
  image, and its sides grow at most by a factor of 2. A window outside the image would see only zeros, and would have no
  gradient to return.
- Features outside the image are 0, and the window has the size of the map. The attention map is 1 inside the window and
  0 outside, as it lies in the image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.base import Changed
from bench.attention.layers import QueryEmbedding, same_conv
from bench.attention.options import require_at_least_one


class SpatialTransformer(nn.Module):
    """θ = MLP(features, query); the features are sampled bilinearly at θ · (x, y, 1).

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        hidden: width of the localisation net; 1 or more.
        grid: the localisation net sees averages over grid × grid cells; 1 or more.
        padding: padding of its convolution: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, hidden: int = 32, grid: int = 4, padding: str = "zeros"
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, grid=grid)
        self.features = same_conv(channels, hidden, 3, padding)
        self.grid = grid
        self.locate = nn.Linear(hidden * grid**2, hidden)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.theta = nn.Linear(hidden, 6)
        nn.init.zeros_(self.theta.weight)
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part that does not depend on the query.

        Returns:
            x, and its hidden features (B, hidden) in the localisation net.
        """
        seen = F.adaptive_avg_pool2d(self.features(x).relu(), self.grid).flatten(1)
        return x, self.locate(seen)

    def answer(self, prepared: tuple[Tensor, Tensor], query: Tensor | None = None) -> Changed:
        """Return the features of the window, (B, C, H, W), for `prepared` and the query (B, Q)."""
        x, seen = prepared
        theta = bounded(self.theta((seen + self.embedding(x, query)).relu()).view(-1, 2, 3))
        return Changed(transform(x, theta), x.new_ones(x.shape[0], 1, *x.shape[2:]), theta)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Changed:
        """Return the features of the window, of the size of x (B, C, H, W), for the query (B, Q)."""
        return self.answer(self.prepare(x), query)


def bounded(numbers: Tensor) -> Tensor:
    """Return θ, bounded, of any real numbers (B, 2, 3). The identity stays the identity.

    The linear part is in −2 … 2, the centre of the window in −1 … 1.
    """
    soft = numbers / (1 + numbers.abs())
    return torch.cat([2 * soft[..., :2], soft[..., 2:]], dim=-1)


def transform(x: Tensor, theta: Tensor) -> Tensor:
    """Return x (B, C, H, W), sampled at the positions that θ (B, 2, 3) gives (Eq. 1 and 5); the size stays the same.

    Positions are in −1 … 1 from edge to edge.
    """
    if not len(x):  # PyTorch cannot make a grid for an empty batch
        return x
    if x.dtype in (torch.bfloat16, torch.float16):  # positions need more digits than features
        return transform(x.float(), theta.float()).to(x.dtype)
    grid = F.affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
