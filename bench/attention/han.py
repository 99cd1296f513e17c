"""Hard attention: one position answers, and the network is trained on the answer's marginal likelihood (HAN).

Xu et al., "Show, Attend and Tell", ICML 2015, §4.1, made deterministic as in PAN §4.1, whose search space is small
enough to sum over: p(y) = Σ_ij softmax(s)_ij · p(y | f_ij). Decided here: the score is SAN's; training and test use the
same sum; BatchNorm before the classifier takes its statistics over all positions.
"""

from collections.abc import Sequence

from torch import Tensor

from bench.attention.base import Reading, Readout
from bench.attention.pan import QueryScore


class HardReadout(Readout):
    """Each position's feature is classified by itself; the answers are weighed by the softmax of SAN's score.

    Args:
        channels, query_dim, hidden: as in `QueryScore`.
    """

    def __init__(self, channels: int, query_dim: int = 0, hidden: int = 32) -> None:
        super().__init__()
        self.score = QueryScore(channels, query_dim, hidden)

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """The last of (B, C, H, W) and the query (B, Q) → P = H · W vectors of C, their log weights, and the map."""
        x = features[-1]
        log_weights = self.score(x, query).flatten(1).log_softmax(dim=1)
        mask = log_weights.exp().view(x.shape[0], 1, *x.shape[2:])
        return Reading(x.flatten(2).transpose(1, 2), [mask], log_weights)
