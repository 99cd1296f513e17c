"""Block AttentionRNN: attention computed on a smaller map, for large images.

Khandelwal and Sigal, "AttentionRNN", ICCV 2019, §3.3, Eq. 11 and Fig. 4.

Decisions where the paper leaves a choice: if γ does not divide the size of the map, zeros are added below and to the
right, and the output of the transposed convolution there is cut off. Its kernel is initialised with ones, so that a
block starts with one value.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.arnn import AttentionRNN
from bench.attention.options import require_at_least_one


class BlockAttentionRNN(nn.Module):
    """Score = K^up (transposed, γ × γ, stride γ) over ARNN's score of K^ds (γ × γ, stride γ) ⊛ X.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        block: γ, side of a block; 1 or more.
        hidden: t, width of AttentionRNN's states; 1 or more.
        width: channels of the smaller map; 1 or more.
        context: k, size of the convolution K^c over the smaller map; odd.
        padding: padding of K^c: zeros, replicate, reflect or circular.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        block: int = 2,
        hidden: int = 32,
        width: int = 32,
        context: int = 3,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        require_at_least_one(block=block, width=width)
        self.block = block
        self.shrink = nn.Conv2d(channels, width, block, stride=block)
        self.attend = AttentionRNN(width, query_dim, hidden, context, padding=padding)
        self.grow = nn.ConvTranspose2d(1, 1, block, stride=block)
        with torch.no_grad():
            self.grow.weight.fill_(1.0)
            self.grow.bias.zero_()  # type: ignore[union-attr]

    def coarse(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score of each block: x (B, C, H, W) → (B, 1, ⌈H / γ⌉, ⌈W / γ⌉)."""
        return self.attend.answer(self._shrunk(x), query)

    def _shrunk(self, x: Tensor) -> Tensor:
        """Return the local context of each block."""
        below, right = (-x.shape[2]) % self.block, (-x.shape[3]) % self.block
        return self.attend.prepare(self.shrink(F.pad(x, (0, right, 0, below))))

    def prepare(self, x: Tensor) -> tuple[Tensor, int, int]:
        """Return the part that does not depend on the query: the local context of the blocks, H and W."""
        return self._shrunk(x), x.shape[2], x.shape[3]

    def answer(self, prepared: tuple[Tensor, int, int], query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of `prepared` for the query (B, Q)."""
        context, height, width = prepared
        score: Tensor = self.grow(self.attend.answer(context, query))[:, :, :height, :width]
        return score

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)
