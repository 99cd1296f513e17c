"""Convolutional block attention: channels first, then places; and with AttentionRNN for the places.

Woo et al., "CBAM", ECCV 2018, §3, Eq. 2 and 3; ARNN §4.2 and supplement §2.2. Decided here: the spatial kernel is 3×3
(ARNN's) where the paper has 7×7, the reduction 4 for 32 channels where it has 16, and the spatial convolution is
without the BatchNorm of the paper's program. Since CBAM has no query, its embedding is a third plane beside [max,
mean], and is added to the hidden layer of the channels' perceptron too. The plane alone could only raise or lower the
whole score, as it is the same everywhere; by channels the query changes what max and mean see.
"""

import torch
from torch import Tensor, nn

from bench.attention.arnn import AttentionRNN
from bench.attention.base import QueryEmbedding, Scored, same_conv
from bench.attention.options import at_least_one


class ChannelAttention(nn.Module):
    """features · σ(MLP(mean) + MLP(max)) (Eq. 2); the query enters the MLP's hidden layer. Without biases.

    Args:
        channels: C. query_dim: Q; 0 for none. reduction: C over the hidden layer's width; 1 or more.
    """

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4) -> None:
        super().__init__()
        at_least_one(reduction=reduction)
        hidden = max(1, channels // reduction)
        self.hidden = nn.Linear(channels, hidden, bias=False)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.out = nn.Linear(hidden, channels, bias=False)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What does not depend on the query: x, and what the hidden layer gets of its mean and maximum, (B, hidden)."""
        return x, self.hidden(x.mean(dim=(2, 3))), self.hidden(x.amax(dim=(2, 3)))

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Tensor:
        """The rest: of `prepare`, query (B, Q) → (B, C, H, W)."""
        x, *sides = prepared
        asked = self.embedding(x, query)
        first, second = (self.out((side + asked).relu()) for side in sides)
        return x * (first + second).sigmoid()[:, :, None, None]

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), query (B, Q) → (B, C, H, W)."""
        return self.answer(self.prepare(x), query)


class CBAM(nn.Module):
    """Channel attention, then the score conv k×k([max, mean, E q]) (Eq. 3).

    Args:
        channels: C.
        query_dim: Q, the width of the query; 0 for none.
        reduction: of the channel attention, C over its hidden width; 1 or more.
        kernel: k, the size of the spatial kernel; odd.
        padding: what the spatial kernel sees outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, reduction: int = 4, kernel: int = 3, padding: str = "zeros"
    ) -> None:
        super().__init__()
        at_least_one(kernel=kernel)
        self.channel = ChannelAttention(channels, query_dim, reduction)
        self.embedding = QueryEmbedding(query_dim, 1 if query_dim else 0)
        self.spatial = same_conv(2 + self.embedding.width, 1, kernel, padding, bias=False)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What does not depend on the query, see `ChannelAttention.prepare`."""
        return self.channel.prepare(x)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Scored:
        """x (B, C, H, W), query (B, Q) → features (B, C, H, W), score (B, 1, H, W)."""
        return self.answer(self.prepare(x), query)

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Scored:
        """The rest: of `prepare`, query (B, Q) → features (B, C, H, W), score (B, 1, H, W)."""
        x = self.channel.answer(prepared, query)
        asked = self.embedding(x, query)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        planes = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True), asked], dim=1)
        return Scored(x, self.spatial(planes))


class CBAMAttentionRNN(nn.Module):
    """Channel attention, then AttentionRNN in place of the spatial part (ARNN suppl. Fig. 2b).

    Args:
        channels: C.
        query_dim: Q, the width of the query; 0 for none.
        reduction: of the channel attention, C over its hidden width; 1 or more.
        hidden: t, the width of AttentionRNN's states; 1 or more.
        context: k of AttentionRNN's convolution K^c; odd.
        padding: what K^c sees outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        reduction: int = 4,
        hidden: int = 32,
        context: int = 3,
        padding: str = "zeros",
    ) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, query_dim, reduction)
        self.spatial = AttentionRNN(channels, query_dim, hidden, context, padding=padding)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What does not depend on the query, see `ChannelAttention.prepare`."""
        return self.channel.prepare(x)

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Scored:
        """The rest: of `prepare`, query (B, Q) → features (B, C, H, W), score (B, 1, H, W)."""
        x = self.channel.answer(prepared, query)
        return Scored(x, self.spatial(x, query))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Scored:
        """x (B, C, H, W), query (B, Q) → features (B, C, H, W), score (B, 1, H, W)."""
        return self.answer(self.prepare(x), query)
