"""Hard attention: one position answers, and the network is trained on the answer's marginal likelihood (HAN).

Xu et al., "Show, Attend and Tell", ICML 2015, §4.1, whose Eq. 10 bounds log Σ_s p(s) p(y | s) from below and is
sampled. PAN §4.1 optimises the marginal likelihood, and its search space is small enough to sum over: p(y) = Σ_ij
softmax(s)_ij · p(y | f_ij), where s is PAN's Eq. 7. Decided here: the score is SAN's; training and test use the same
sum; BatchNorm before the classifier takes its statistics over all positions.
"""

from collections.abc import Sequence

from torch import Tensor

from bench.attention.base import Reading, Readout
from bench.attention.pan import QueryScore


class HardReadout(Readout):
    """Each position's feature is classified by itself; the answers are weighed by the softmax of SAN's score.

    Args:
        channels: C of the features.
        query_dim: Q, the width of the one-hot query; 0 for none.
        hidden: width of the score's hidden layer; 1 or more.
    """

    def __init__(self, channels: int, query_dim: int = 0, hidden: int = 32) -> None:
        super().__init__()
        self.score = QueryScore(channels, query_dim, hidden)

    def prepare(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What does not depend on the query: the last features, and what the score's hidden layer sees in them."""
        return features[-1], self.score.prepare(features[-1])

    def answer(self, prepared: tuple[Tensor, Tensor], query: Tensor | None = None) -> Reading:
        """The rest: of `prepare`, the query (B, Q) → as `forward`."""
        x, seen = prepared
        log_weights = self.score.answer(seen, query).flatten(1).log_softmax(dim=1)
        mask = log_weights.exp().view(x.shape[0], 1, *x.shape[2:])
        return Reading(x.flatten(2).transpose(1, 2), [mask], log_weights)

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """The last of (B, C, H, W) and the query (B, Q) → P = H · W vectors of C, their log weights, and the map."""
        return self.answer(self.prepare(features), query)
