"""Soft attention with the query (SAN), progressively at every slot (PAN ¬CTX), and with local context (PAN CTX).

Seo et al., "Progressive Attention Networks for Visual Attribute Prediction", BMVC 2018, Eq. 2, 5 and 7. The attention
function is a two-layer perceptron over the feature and the query; with context, its first layer sees a neighbourhood.
Decided here: the query enters by a bias-free embedding added before the ReLU, which is the same as a first layer over
their concatenation; δ = 3 is the size of the kernel, as in ARNN (PAN's δ = 2 is a radius).
"""

from torch import Tensor, nn

from bench.attention.base import QueryEmbedding, same_conv
from bench.attention.options import at_least_one


class QueryScore(nn.Module):
    """Score = conv1×1(ReLU(conv k×k(x) + E q)).

    Args:
        channels: C of the features.
        query_dim: Q, the width of the one-hot query; 0 for none.
        hidden: width of the hidden layer; 1 or more.
        kernel: k; odd: 1 looks at one position, 3 at its neighbours too.
        padding: what lies outside the map: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, hidden: int = 32, kernel: int = 1, padding: str = "zeros"
    ) -> None:
        super().__init__()
        at_least_one(hidden=hidden, kernel=kernel)
        self.features = same_conv(channels, hidden, kernel, padding)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.score = nn.Conv2d(hidden, 1, 1)

    def prepare(self, x: Tensor) -> Tensor:
        """What does not depend on the query: x (B, C, H, W) → (B, hidden, H, W)."""
        return self.features(x)

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """The rest: (B, hidden, H, W), query (B, Q) → score (B, 1, H, W)."""
        hidden = prepared + self.embedding(prepared, query)[:, :, None, None]
        return self.score(hidden.relu())

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), query (B, Q) → score (B, 1, H, W)."""
        return self.answer(self.prepare(x), query)
