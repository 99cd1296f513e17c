"""A small U-Net as local attention, and as AttentionRNN's local context.

Ronneberger et al., "U-Net", MICCAI 2015, §2 and Fig. 1 (no equation gives the network); ARNN supplement §1, Eq. 1 and
Table 1. Decided here: width 32 at every depth; a level is one 3×3 convolution and ReLU, 2 × 2 max pooling (rounded up,
so that any size will do) on the way down, nearest upsampling and concatenation on the way up, where the paper has two
unpadded convolutions a level and learned upsampling; depth d has d levels, so `unet2` pools once and `unet3` twice. The
query's embedding is added to the first level's features. For `unet2-arnn` the same net gives X^c, to which ARNN
concatenates the query once more, as always.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.arnn import AttentionRNN
from bench.attention.base import QueryEmbedding, same_conv
from bench.attention.options import at_least_one


class UNet(nn.Module):
    """Features of the same size that have seen far: (B, C, H, W) → (B, width, H, W).

    Args:
        channels: C.
        query_dim: Q, the width of the one-hot query; 0 for none.
        depth: d, the levels; 1 or more.
        width: channels at every level; 1 or more.
        padding: what the convolutions see outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, depth: int = 2, width: int = 32, padding: str = "zeros"
    ) -> None:
        super().__init__()
        at_least_one(depth=depth, width=width)
        self.embedding = QueryEmbedding(query_dim, width)
        self.down = nn.ModuleList(same_conv(width if d else channels, width, 3, padding) for d in range(depth))
        self.up = nn.ModuleList(same_conv(2 * width, width, 3, padding) for _ in range(depth - 1))

    def prepare(self, x: Tensor) -> Tensor:
        """What does not depend on the query, the first convolution: (B, C, H, W) → (B, width, H, W)."""
        return self.down[0](x)

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """The rest: of `prepare`, query (B, Q) → (B, width, H, W)."""
        levels = [(prepared + self.embedding(prepared, query)[:, :, None, None]).relu()]
        for convolve in self.down[1:]:
            levels.append(convolve(F.max_pool2d(levels[-1], 2, ceil_mode=True)).relu())
        out = levels.pop()
        for convolve in self.up:
            beside = levels.pop()
            above = F.interpolate(out, scale_factor=2.0, mode="nearest")[:, :, : beside.shape[2], : beside.shape[3]]
            out = convolve(torch.cat([beside, above], dim=1)).relu()
        return out

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), query (B, Q) → (B, width, H, W)."""
        return self.answer(self.prepare(x), query)


class UNetScore(nn.Module):
    """Score = conv1×1(UNet(x, q)).

    Args:
        channels: h, the channels of X.
        query_dim: Q, the width of the query; 0 for none.
        depth: d, the levels of the U-Net; 1 or more.
        width: channels of the U-Net; 1 or more.
        padding: what its convolutions see outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, depth: int = 2, width: int = 32, padding: str = "zeros"
    ) -> None:
        super().__init__()
        self.net = UNet(channels, query_dim, depth, width, padding)
        self.score = nn.Conv2d(width, 1, 1)

    def prepare(self, x: Tensor) -> Tensor:
        """What does not depend on the query: (B, C, H, W) → (B, width, H, W)."""
        return self.net.prepare(x)

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """The rest: of `prepare`, query (B, Q) → score (B, 1, H, W)."""
        return self.score(self.net.answer(prepared, query))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), query (B, Q) → score (B, 1, H, W)."""
        return self.answer(self.prepare(x), query)


class UNetAttentionRNN(AttentionRNN):
    """AttentionRNN whose local context is a U-Net, so without K^c: X̂^c = skew(N(X)) (ARNN suppl. Eq. 1).

    Args:
        channels: h, the channels of X.
        query_dim: Q, the width of the query; 0 for none.
        depth: d, the levels of the U-Net; 1 or more.
        hidden: t, the width of the LSTM states; 1 or more.
        width: channels of the U-Net, of the local context, and of the query embedding; 1 or more.
        padding: what the U-Net's convolutions see outside the map: zeros, replicate, reflect or circular.
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
        """What does not depend on the query: (B, C, H, W) → (B, width, H, W)."""
        return self.context.prepare(x)

    def local_context(self, prepared: Tensor, query: Tensor | None) -> Tensor:
        """X^c, the U-Net's features."""
        return self.context.answer(prepared, query)
