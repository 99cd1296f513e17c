"""Convolutional block attention (CBAM): over channels, then over positions; also with AttentionRNN for the positions.

Woo et al., "CBAM", ECCV 2018, §3, Eq. 2 and 3; ARNN §4.2 and supplement §2.2.

Decisions where the papers leave a choice:

- The spatial kernel is 3×3, as in ARNN (CBAM: 7×7). The reduction is 4 for 32 channels (CBAM: 16). The linear layers
  have no biases. The spatial convolution has no BatchNorm; in the authors' program it has one, whose γ begins at 0, so
  that every map begins at 0.5. `cbam:reduction=16:kernel=7:norm=true:bias=true` is the authors' program.
- The paper's CBAM has no query. Here, an embedding of the query is added to the hidden layer of the channel attention,
  and another one is a third input plane of the spatial convolution, next to the maximum and the mean over channels. The
  plane has the same value at every position, so it can only add a constant to the score (except at the borders, where
  the padding differs). Through the channel attention, the query changes the features from which the maximum and the
  mean are computed.
"""

import torch
from torch import Tensor, nn

from bench.attention.arnn import AttentionRNN
from bench.attention.base import Scored
from bench.attention.layers import QueryEmbedding, same_conv
from bench.attention.options import require_at_least_one


class ChannelAttention(nn.Module):
    """features · σ(MLP(mean) + MLP(max)) (Eq. 2); the query enters the hidden layer of the MLP.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        reduction: C divided by the width of the hidden layer; 1 or more.
        bias: true gives the layers of the MLP biases; false does not.
    """

    def __init__(self, channels: int, query_dim: int = 0, reduction: int = 4, bias: bool = False) -> None:
        super().__init__()
        require_at_least_one(reduction=reduction)
        hidden = max(1, channels // reduction)
        self.hidden = nn.Linear(channels, hidden, bias=bias)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.out = nn.Linear(hidden, channels, bias=bias)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the part that does not depend on the query.

        Returns:
            x, and the hidden layer's features (B, hidden) of its mean and of its maximum.
        """
        return x, self.hidden(x.mean(dim=(2, 3))), self.hidden(x.amax(dim=(2, 3)))

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Tensor:
        """Return the features (B, C, H, W) of `prepared` for the query (B, Q)."""
        x, *sides = prepared
        embedded_query = self.embedding(x, query)
        first, second = (self.out((side + embedded_query).relu()) for side in sides)
        features: Tensor = x * (first + second).sigmoid()[:, :, None, None]
        return features

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the features (B, C, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)


class CBAM(nn.Module):
    """Channel attention, then the score conv k×k([max, mean, E q]) (Eq. 3).

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        reduction: C divided by the width of the hidden layer of the channel attention; 1 or more.
        kernel: k, size of the spatial kernel; odd.
        padding: padding of the spatial convolution: zeros, replicate, reflect or circular.
        norm: true adds BatchNorm after the spatial convolution, whose γ begins at 0; false does not.
        bias: true gives the layers of the channel attention biases; false does not.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        reduction: int = 4,
        kernel: int = 3,
        padding: str = "zeros",
        norm: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        require_at_least_one(kernel=kernel)
        self.channel = ChannelAttention(channels, query_dim, reduction, bias)
        self.embedding = QueryEmbedding(query_dim, 1 if query_dim else 0)
        self.spatial = same_conv(2 + self.embedding.width, 1, kernel, padding, bias=False)
        self.norm = None
        if norm:
            self.norm = nn.BatchNorm2d(1, momentum=0.01)
            nn.init.zeros_(self.norm.weight)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the part that does not depend on the query, see `ChannelAttention.prepare`."""
        return self.channel.prepare(x)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Scored:
        """Return features (B, C, H, W) and score (B, 1, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Scored:
        """Return features (B, C, H, W) and score (B, 1, H, W) of `prepared` for the query (B, Q)."""
        x = self.channel.answer(prepared, query)
        embedded_query = self.embedding(x, query)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        planes = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True), embedded_query], dim=1)
        score = self.spatial(planes)
        return Scored(x, score if self.norm is None else self.norm(score))


class CBAMAttentionRNN(nn.Module):
    """Channel attention, then AttentionRNN in place of the spatial part (ARNN suppl. Fig. 2b).

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        reduction: C divided by the width of the hidden layer of the channel attention; 1 or more.
        hidden: t, width of AttentionRNN's states; 1 or more.
        context: k, size of AttentionRNN's convolution K^c; odd.
        padding: padding of K^c: zeros, replicate, reflect or circular.
        bias: true gives the layers of the channel attention biases; false does not.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        reduction: int = 4,
        hidden: int = 32,
        context: int = 3,
        padding: str = "zeros",
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, query_dim, reduction, bias)
        self.spatial = AttentionRNN(channels, query_dim, hidden, context, padding=padding)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the part that does not depend on the query, see `ChannelAttention.prepare`."""
        return self.channel.prepare(x)

    def answer(self, prepared: tuple[Tensor, Tensor, Tensor], query: Tensor | None = None) -> Scored:
        """Return features (B, C, H, W) and score (B, 1, H, W) of `prepared` for the query (B, Q)."""
        x = self.channel.answer(prepared, query)
        return Scored(x, self.spatial(x, query))

    def forward(self, x: Tensor, query: Tensor | None = None) -> Scored:
        """Return features (B, C, H, W) and score (B, 1, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)
