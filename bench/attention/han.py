"""Hard attention (HAN): each position answers, and the loss is the marginal likelihood of the answer.

Xu et al., "Show, Attend and Tell", ICML 2015, §4.1. Their Eq. 10 is a sampled lower bound of log Σ_s p(s) p(y | s). PAN
§4.1 optimises the marginal likelihood itself, whose sum is over few enough positions to compute: p(y) = Σ_ij
softmax(s)_ij · p(y | f_ij), where s is PAN's Eq. 7.

Decisions where the papers leave a choice: the score is that of SAN; training and test use the same sum; BatchNorm
before the classifier computes its statistics over all positions.
"""

from collections.abc import Sequence

from torch import Tensor

from bench.attention.base import Reading, Readout
from bench.attention.pan import QueryScore


class HardReadout(Readout):
    """Classify the feature of each position, and weight the answers by the softmax of SAN's score.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        hidden: width of the score's hidden layer; 1 or more.
    """

    def __init__(self, channels: int, query_dim: int = 0, hidden: int = 32) -> None:
        super().__init__()
        self.score = QueryScore(channels, query_dim, hidden)

    def prepare(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the part that does not depend on the query.

        Returns:
            The last features (B, C, H, W), and the score's hidden features (B, hidden, H, W) of them.
        """
        return features[-1], self.score.prepare(features[-1])

    def answer(self, prepared: tuple[Tensor, Tensor], query: Tensor | None = None) -> Reading:
        """Return the classifier's input for `prepared` and the query (B, Q), see `forward`."""
        x, seen = prepared
        log_weights = self.score.answer(seen, query).flatten(1).log_softmax(dim=1)
        mask = log_weights.exp().view(x.shape[0], 1, *x.shape[2:])
        return Reading(x.flatten(2).transpose(1, 2), [mask], log_weights)

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """Return H · W vectors of C numbers per image, their log weights, and the map.

        Args:
            features: the features of every slot; only the last, (B, C, H, W), are used.
            query: one-hot, (B, Q).
        """
        return self.answer(self.prepare(features), query)
