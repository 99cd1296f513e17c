"""Learn to Pay Attention: local features count as far as they agree with the global one.

Jetley et al., ICLR 2018, §3, Eq. 1–3, with "concat". Decided here: the levels are the last three slots; g is a linear
map of the mean of the last features, plus the embedding of the query; all are 32 wide, so nothing is projected. As
written, ⟨u, l + g⟩ gives every position the same ⟨u, g⟩, which a softmax does not see: neither g nor the query could
matter. So `ltpa-pc` has the tanh of Bahdanau et al. (2015), from whom the paper takes it: ⟨u, tanh(l + g)⟩;
`linear=true` is the formula as written.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.attention.base import QueryEmbedding, Reading, Readout
from bench.attention.options import at_least_one


class GlobalLocalReadout(Readout):
    """For each level a = softmax(compatibility of l_i and g); its vector is Σ a_i · l_i. g goes no further.

    Args:
        channels: C of every level.
        query_dim: Q, the width of the one-hot query; 0 for none.
        compatibility: "dot", ⟨l, g⟩ (Eq. 3), or "parametrised" (Eq. 2).
        levels: of how many slots, the last ones; 1 or more, and no more than the network has.
        linear: true to leave the tanh out of "parametrised"; false to have it.
    """

    mask_power = 0.5
    chosen_by_name = ("compatibility",)

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        compatibility: str = "dot",
        levels: int = 3,
        linear: bool = False,
    ) -> None:
        super().__init__()
        if compatibility not in ("dot", "parametrised"):
            raise ValueError(f"compatibility={compatibility}: dot or parametrised")
        at_least_one(levels=levels)
        self.levels, self.linear = levels, linear
        self.globally = nn.Linear(channels, channels)
        self.embedding = QueryEmbedding(query_dim, channels)
        self.weigh = None
        if compatibility == "parametrised":
            self.weigh = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for _ in range(levels))

    def global_feature(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """g (B, C) of the last features (B, C, H, W)."""
        return self.globally(x.mean(dim=(2, 3))) + self.embedding(x, query)

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """(B, C, H, W) of every slot, query (B, Q) → one vector of levels · C, and the levels' maps."""
        if len(features) < self.levels:
            raise ValueError(f"levels={self.levels}: this network has {len(features)} slots")
        g = self.global_feature(features[-1], query)[:, :, None, None]
        vectors, masks = [], []
        for level, local in enumerate(features[-self.levels :]):
            score = self._compatibility(level, local, g)
            mask = score.flatten(1).softmax(dim=1).view_as(score)
            vectors.append((local * mask).sum(dim=(2, 3)))
            masks.append(mask)
        return Reading(torch.cat(vectors, dim=1).unsqueeze(1), masks)

    def _compatibility(self, level: int, local: Tensor, g: Tensor) -> Tensor:
        if self.weigh is None:
            return (local * g).sum(dim=1, keepdim=True)
        both = local + g
        return self.weigh[level](both if self.linear else both.tanh())
