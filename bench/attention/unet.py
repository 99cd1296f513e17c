"""A small U-Net as local attention, and as the local context of AttentionRNN.

Ronneberger et al., "U-Net", MICCAI 2015, §2 and Fig. 1 (no equation defines the network); ARNN supplement §1, Eq. 1 and
Table 1.

Decisions where the papers leave a choice:

- The width is 32 at each depth. On the way down, a level is one 3×3 convolution, ReLU and 2 × 2 max pooling, rounded up
  so that any size works. On the way up, it is nearest-neighbour upsampling and concatenation. The paper has two
  unpadded convolutions per level and learned upsampling.
- Depth d has d levels: `unet2` pools once and `unet3` twice.
- The embedding of the query is added to the features of the first level. In `unet2-arnn` this U-Net computes X^c, to
  which ARNN concatenates the query once more, as it always does.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.arnn import AttentionRNN
from bench.attention.layers import QueryEmbedding, same_conv
from bench.attention.options import require_at_least_one


class UNet(nn.Module):
    """Features of the same size with a large receptive field: (B, C, H, W) → (B, width, H, W).

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        depth: d, number of levels; 1 or more.
        width: channels of every level; 1 or more.
        padding: padding of the convolutions: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, depth: int = 2, width: int = 32, padding: str = "zeros"
    ) -> None:
        super().__init__()
        require_at_least_one(depth=depth, width=width)
        self.embedding = QueryEmbedding(query_dim, width)
        self.down = nn.ModuleList(same_conv(width if d else channels, width, 3, padding) for d in range(depth))
        self.up = nn.ModuleList(same_conv(2 * width, width, 3, padding) for _ in range(depth - 1))

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query, the first convolution: (B, C, H, W) → (B, width, H, W)."""
        features: Tensor = self.down[0](x)
        return features

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the features (B, width, H, W) of `prepared` for the query (B, Q)."""
        levels = [(prepared + self.embedding(prepared, query)[:, :, None, None]).relu()]
        for convolve in self.down[1:]:
            levels.append(convolve(F.max_pool2d(levels[-1], 2, ceil_mode=True)).relu())
        out: Tensor = levels.pop()
        for convolve in self.up:
            skip = levels.pop()
            above = F.interpolate(out, scale_factor=2.0, mode="nearest")[:, :, : skip.shape[2], : skip.shape[3]]
            out = convolve(torch.cat([skip, above], dim=1)).relu()
        return out

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the features (B, width, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)


class UNetScore(nn.Module):
    """Score = conv1×1(UNet(x, q)).

    Args:
        channels: h, channels of X.
        query_dim: Q, width of the one-hot query; 0 for none.
        depth: d, number of levels of the U-Net; 1 or more.
        width: channels of the U-Net; 1 or more.
        padding: padding of its convolutions: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, depth: int = 2, width: int = 32, padding: str = "zeros"
    ) -> None:
        super().__init__()
        self.net = UNet(channels, query_dim, depth, width, padding)
        self.score = nn.Conv2d(width, 1, 1)

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query: (B, C, H, W) → (B, width, H, W)."""
        return self.net.prepare(x)

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of `prepared` for the query (B, Q)."""
        score: Tensor = self.score(self.net.answer(prepared, query))
        return score

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)


class UNetAttentionRNN(AttentionRNN):
    """AttentionRNN whose local context is a U-Net in place of K^c: X̂^c = skew(N(X)) (ARNN suppl. Eq. 1).

    Args:
        channels: h, channels of X.
        query_dim: Q, width of the one-hot query; 0 for none.
        depth: d, number of levels of the U-Net; 1 or more.
        hidden: t, width of the LSTM states; 1 or more.
        width: channels of the U-Net, of the local context, and of the query embedding; 1 or more.
        padding: padding of the U-Net's convolutions: zeros, replicate, reflect or circular.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        depth: int = 2,
        hidden: int = 32,
        width: int = 32,
        padding: str = "zeros",
    ) -> None:
        super().__init__(channels, query_dim, hidden, width=width)
        self.context: UNet = UNet(channels, query_dim, depth, width, padding)

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query: (B, C, H, W) → (B, width, H, W)."""
        return self.context.prepare(x)

    def local_context(self, prepared: Tensor, query: Tensor | None) -> Tensor:
        """Return X^c, the features of the U-Net."""
        return self.context.answer(prepared, query)
