"""Multi-head self-attention over positions, with the query as an additional token.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, §3.2, Eq. 1: softmax(Q Kᵀ / √d_k) V in each head. The query
token takes the place of the class token of Dosovitskiy et al., ICLR 2021, §3.1, Eq. 1 and 2.

Decisions where the papers leave a choice:

- Layers normalise their input and have residual connections, but no perceptron. There is no position code: the padding
  of the convolutions already distinguishes positions. In the last layer only the query token attends.
- It works in the last slot only: at 50 × 50 positions the weights of all pairs would be six million numbers per image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.attention.base import Reading, Readout
from bench.attention.layers import QueryEmbedding, normalize_map
from bench.attention.options import require_at_least_one

_multi_head = nn.functional.multi_head_attention_forward


class SelfAttentionReadout(Readout):
    """Tokens = [E q, positions]; the vector is the query token after `layers` layers of attention.

    The map is the attention of the query token to each position in the last layer, averaged over the heads.

    Args:
        channels: C, channels of the features.
        query_dim: Q, width of the one-hot query; 0 for none.
        heads: 1 or more; must divide C.
        layers: 1 or more.
    """

    def __init__(self, channels: int, query_dim: int = 0, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        require_at_least_one(heads=heads, layers=layers)
        if channels % heads:
            raise ValueError(f"heads={heads}: give a divisor of the {channels} channels")
        self.embedding = QueryEmbedding(query_dim, channels)
        self.start = nn.Parameter(torch.zeros(channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.attends = nn.ModuleList(nn.MultiheadAttention(channels, heads, batch_first=True) for _ in range(layers))

    def forward(self, features: Sequence[Tensor], query: Tensor | None = None) -> Reading:
        """Return one vector of C numbers per image, and the map.

        Args:
            features: the features of every slot; only the last, (B, C, H, W), are used.
            query: one-hot, (B, Q).
        """
        x = features[-1]
        embedded_query = self.embedding(x, query) + self.start
        tokens = torch.cat([embedded_query.unsqueeze(1), x.flatten(2).transpose(1, 2)], dim=1)
        last = len(self.attends) - 1
        for layer, (norm, attend) in enumerate(zip(self.norms, self.attends, strict=True)):
            seen = norm(tokens)
            attending = seen if layer < last else seen[:, :1]
            out, weights = _attend(attend, attending, seen)
            tokens = tokens[:, : out.shape[1]] + out
        mask = weights[:, 0, 1:].view(x.shape[0], 1, *x.shape[2:])
        return Reading(tokens, [normalize_map(mask)])


def _attend(module: Any, attending: Tensor, seen: Tensor) -> tuple[Tensor, Any]:
    """Return the output (B, L, C) of tokens that attend to `seen`, and the weights (B, L, N), averaged over the heads.

    `attending` is (B, L, C) and `seen` is (B, N, C).

    The `nn.MultiheadAttention` module itself is not called, and the weights are always computed. Otherwise PyTorch
    would use fused kernels, which have neither second nor forward-mode derivatives, and which are not faster at the
    sizes of a last slot.
    """
    across, along = attending.transpose(0, 1), seen.transpose(0, 1)  # positions first
    out, weights = _multi_head(
        *(across, along, along, module.embed_dim, module.num_heads, module.in_proj_weight, module.in_proj_bias),
        *(None, None, False, 0.0, module.out_proj.weight, module.out_proj.bias, module.training),
    )
    return out.transpose(0, 1), weights
