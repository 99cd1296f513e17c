"""Learn to Pay Attention: local features are weighted by their compatibility with a global feature.

Jetley et al., ICLR 2018, §3, Eq. 1–3.

Decisions where the paper leaves a choice:

- The levels are the last three slots. A network may have its own global feature g, as `vgg-att` does. Otherwise, g is a
  linear map of the mean of the last features. The embedding of the query is added to g.
- If the features of a level have another width than g, g is projected to it by BatchNorm, ReLU, dropout and a linear
  layer, as in the authors' program.
- `head=indep` classifies the vector of each level alone and adds the log-probabilities, as in the authors' program.
  (The paper says that probabilities are averaged, which is not the same.)
- The compatibility of `ltpa-pc` is linear, ⟨u, l + g⟩ = ⟨u, l⟩ + ⟨u, g⟩, as in Eq. 2 and in the authors' program. The
  second term is the same number at every position, and the softmax cancels it: softmax_i ⟨u, l_i + g⟩ =
  softmax_i ⟨u, l_i⟩. The map depends neither on g nor on the query (the paper observes this in §A.5). So g is not
  computed, and the network appends the query before the classifier, as for every mechanism that ignores it.
- `linear=false` gives ⟨u, tanh(l + g)⟩, as in Bahdanau et al. (2015), from whom the paper takes the formula. Its map
  depends on the query.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.attention.base import Reading, Readout
from bench.attention.layers import QueryEmbedding
from bench.attention.options import require_at_least_one


class GlobalLocalReadout(Readout):
    """For each level, a = softmax of the compatibility of l_i with g, and the level's vector is Σ a_i · l_i.

    The classifier sees the vectors of all levels, but not g.

    Args:
        channels: C, channels of every level.
        query_dim: Q, width of the one-hot query; 0 for none.
        compatibility: "dot", ⟨l, g⟩ (Eq. 3), or "parametrised" (Eq. 2).
        levels: number of slots to use, counted from the last; 1 or more, at most the slots of the network.
        linear: for "parametrised": true gives ⟨u, l + g⟩, whose map ignores g and the query; false gives
            ⟨u, tanh(l + g)⟩.
        head: concat or indep. "concat": one classifier reads the vectors of all levels; "indep": one classifier for
            each level, whose log-probabilities are added.
        level_channels: channels of each level, shallow to deep; None if all have C.
        global_channels: width of the network's global feature; None if g is computed here.
    """

    mask_power = 0.5
    chosen_by_name = ("compatibility",)

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        compatibility: str = "dot",
        levels: int = 3,
        linear: bool = True,
        head: str = "concat",
        level_channels: Sequence[int] | None = None,
        global_channels: int | None = None,
    ) -> None:
        super().__init__()
        if compatibility not in ("dot", "parametrised"):
            raise ValueError(f"compatibility={compatibility}: give dot or parametrised")
        if head not in ("concat", "indep"):
            raise ValueError(f"head={head}: give concat or indep")
        require_at_least_one(levels=levels)
        self.levels = levels
        self.has_global = compatibility == "dot" or not linear
        self.uses_global = self.has_global and global_channels is not None
        widths = tuple(level_channels or [channels] * levels)
        width = global_channels or channels
        self.globally = None
        if self.has_global:
            if not self.uses_global:
                self.globally = nn.Linear(channels, channels)
            self.embedding = QueryEmbedding(query_dim, width)
        self.weigh = None
        if compatibility == "parametrised":
            self.weigh = nn.ModuleList(nn.Conv2d(each, 1, 1, bias=False) for each in widths)
        different = {str(k): each for k, each in enumerate(widths) if self.has_global and each != width}
        self.project = nn.ModuleDict({k: _projection(width, each) for k, each in different.items()})

    def global_feature(self, features: Sequence[Tensor], query: Tensor | None = None) -> Tensor:
        """Return g (B, G) of the features (B, C, H, W) of every slot and the query (B, Q)."""
        x = features[-1]
        if self.globally is None:
            feature: Tensor | None = getattr(features, "global_feature", None)
            assert feature is not None
        else:
            feature = self.globally(x.mean(dim=(2, 3)))
        added: Tensor = feature + self.embedding(x, query)
        return added

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """Return one vector per image, which joins those of the levels, and the maps of the levels.

        Args:
            features: the features (B, C, H, W) of every slot.
            query: one-hot, (B, Q).

        Raises:
            ValueError: the network has fewer slots than `levels`.
        """
        if len(features) < self.levels:
            raise ValueError(f"levels={self.levels}: this network has {len(features)} slots")
        g = self.global_feature(features, query) if self.has_global else None
        vectors, masks = [], []
        for level, local in enumerate(features[-self.levels :]):
            score = self._compatibility(level, local, g)
            mask = score.flatten(1).softmax(dim=1).view_as(score)
            vectors.append((local * mask).sum(dim=(2, 3)))
            masks.append(mask)
        return Reading(torch.cat(vectors, dim=1).unsqueeze(1), masks)

    def _compatibility(self, level: int, local: Tensor, g: Tensor | None) -> Tensor:
        """Return c(l, g) up to a number that is the same at every position, (B, 1, H, W).

        Args:
            level: index of the level.
            local: its features l, (B, C, H, W).
            g: the global feature, (B, G); None if it cancels.
        """
        if g is not None:
            g = self.project[str(level)](g) if str(level) in self.project else g
            g = g[:, :, None, None]
        if self.weigh is None:
            assert g is not None
            return (local * g).sum(dim=1, keepdim=True)
        score: Tensor = self.weigh[level](local if g is None else (local + g).tanh())
        return score


def _projection(width: int, channels: int) -> nn.Sequential:
    """Return the map of the global feature to another width of the authors' program."""
    return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, channels))
