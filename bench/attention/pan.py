"""Soft attention with the query in the last slot (SAN) or in every slot (PAN ¬CTX), and with local context (PAN CTX).

Seo et al., "Progressive Attention Networks for Visual Attribute Prediction", BMVC 2018, Eq. 2, 5 and 7. The attention
function is a two-layer perceptron over the feature and the query. With context, its first layer sees a neighbourhood.

Decisions where the paper leaves a choice:

- The query enters by an embedding without bias that is added before the ReLU. This equals a first layer over the
  concatenation of feature and query.
- δ = 3 is the size of the kernel, as in ARNN. (PAN's δ = 2 is a radius.)
"""

from typing import Any

from torch import Tensor, nn

from bench.attention.base import has_hooks, repeat_for_questions
from bench.attention.layers import QueryEmbedding, same_conv
from bench.attention.options import require_at_least_one
from bench.kernels import gate


class QueryScore(nn.Module):
    """Score = conv1×1(ReLU(conv k×k(x) + E q)).

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        hidden: width of the hidden layer; 1 or more.
        kernel: k, odd; 1 looks at one position, 3 also at its neighbours.
        padding: padding of the convolution: zeros, replicate, reflect or circular.
    """

    def __init__(
        self, channels: int, query_dim: int = 0, hidden: int = 32, kernel: int = 1, padding: str = "zeros"
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, kernel=kernel)
        self.features = same_conv(channels, hidden, kernel, padding)
        self.embedding = QueryEmbedding(query_dim, hidden)
        self.score = nn.Conv2d(hidden, 1, 1)

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query: x (B, C, H, W) → (B, hidden, H, W)."""
        features: Tensor = self.features(x)
        return features

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of `prepared` (B, hidden, H, W) for the query (B, Q)."""
        hidden = prepared + self.embedding(prepared, query)[:, :, None, None]
        score: Tensor = self.score(hidden.relu())
        return score

    def answer_shared(self, prepared: Tensor, query: Tensor, image_index: Tensor | int) -> Tensor:
        """Return the scores (T, 1, H, W) for the queries (T, Q) about images.

        Args:
            prepared: (B, hidden, H, W), one row per image.
            query: one-hot, (T, Q).
            image_index: the image that each question is about.
        """
        last: Any = self.score
        unchanged = type(last) is nn.Conv2d and not has_hooks(last) and type(self).answer is QueryScore.answer
        if unchanged and self.embedding.linear is not None:
            embedded_query = self.embedding(prepared, query)
            if gate.supports_query_score(prepared, embedded_query, image_index, last.weight, last.bias):
                return gate.query_score(prepared, embedded_query, image_index, last.weight, last.bias)
        return self.answer(repeat_for_questions(prepared, image_index), query)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, H, W) of x (B, C, H, W) for the query (B, Q)."""
        return self.answer(self.prepare(x), query)
