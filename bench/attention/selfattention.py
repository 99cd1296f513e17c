"""Multi-head self-attention over positions, with the query as one more token.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, §3.2, Eq. 1: softmax(Q Kᵀ / √d_k) V in each head; the token
as the class token of Dosovitskiy et al., ICLR 2021, §3.1, Eq. 1 and 2. Decided here: normalisation before, residuals,
no perceptrons and no position code (the convolutions' padding tells places apart); in the last layer only the query's
token looks. The last slot alone: at 50 × 50 positions the weights of all pairs would be six million numbers an image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.attention.base import QueryEmbedding, Reading, Readout, share
from bench.attention.options import at_least_one

_multi_head = nn.functional.multi_head_attention_forward


class SelfAttentionReadout(Readout):
    """Tokens = [E q, positions]; the vector is the query's token after `layers` of attention.

    The map is what the query's token gives each position in the last layer, mean over the heads.

    Args:
        channels: C.
        query_dim: Q, the width of the query; 0 for none.
        heads: 1 or more; they divide C.
        layers: 1 or more.
    """

    def __init__(self, channels: int, query_dim: int = 0, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        at_least_one(heads=heads, layers=layers)
        if channels % heads:
            raise ValueError(f"heads={heads}: give a number that divides {channels}")
        self.embedding = QueryEmbedding(query_dim, channels)
        self.start = nn.Parameter(torch.zeros(channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.attends = nn.ModuleList(nn.MultiheadAttention(channels, heads, batch_first=True) for _ in range(layers))

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """The last of (B, C, H, W), query (B, Q) → one vector of C, and the map."""
        x = features[-1]
        asked = self.embedding(x, query) + self.start
        tokens = torch.cat([asked.unsqueeze(1), x.flatten(2).transpose(1, 2)], dim=1)
        last = len(self.attends) - 1
        for layer, (norm, attend) in enumerate(zip(self.norms, self.attends, strict=True)):
            seen = norm(tokens)
            lookers = seen if layer < last else seen[:, :1]
            out, weights = _attend(attend, lookers, seen)
            tokens = tokens[:, : out.shape[1]] + out
        mask = weights[:, 0, 1:].view(x.shape[0], 1, *x.shape[2:])
        return Reading(tokens, [share(mask)])


def _attend(module: Any, lookers: Tensor, seen: Tensor) -> tuple[Tensor, Any]:
    """Return what lookers (B, L, C) see in (B, N, C), and the weights (B, L, N), mean over the heads.

    The weights are always computed, and the module, an `nn.MultiheadAttention`, is not called itself: that would take
    fused kernels, which have no second or no forward-mode derivative and are no faster at the sizes of a last slot.
    """
    across, along = lookers.transpose(0, 1), seen.transpose(0, 1)  # positions first
    out, weights = _multi_head(
        *(across, along, along, module.embed_dim, module.num_heads, module.in_proj_weight, module.in_proj_bias),
        *(None, None, False, 0.0, module.out_proj.weight, module.out_proj.bias, module.training),
    )
    return out.transpose(0, 1), weights
