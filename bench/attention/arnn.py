"""AttentionRNN: attention values that depend on those above, to the left and to the right.

Khandelwal and Sigal, "AttentionRNN: A Structured Spatial Attention Mechanism", ICCV 2019, §3. Decided here: g goes
through tanh (the paper's Eq. 8 writes σ for all gates), σ^l and σ^r are made positive by softplus, the layer's only
biases are those of the gates and of f_l, f_r and f_comb, and f_comb gives μ alone (4 → 1), since nothing here uses σ.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.base import QueryEmbedding
from bench.kernels.diagonal_lstm import diagonal_lstm


class AttentionRNN(nn.Module):
    """Score = μ of p(a_ij | a_<ij) (Eq. 4–10), for any CNN: put it behind a layer, and pass its score to a sigmoid.

    Args:
        channels: h, the channels of X.
        query_dim: Q, the width of the query; 0 for none.
        hidden: t, the width of the LSTM states.
        context: k of the k × k convolution K^c (Eq. 9), odd.
        width: channels of the local context X^c, and of the query embedding that is concatenated to it.
        implementation: of the diagonal LSTM, see `bench.kernels.diagonal_lstm.IMPLEMENTATIONS`.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        hidden: int = 32,
        context: int = 3,
        width: int = 32,
        implementation: str = "packed",
    ) -> None:
        super().__init__()
        self.implementation = implementation
        self.context = nn.Conv2d(channels, width, context, padding=context // 2, bias=False)
        self.embedding = QueryEmbedding(query_dim, width if query_dim else 0)
        inputs = width + self.embedding.width
        self.kernel_x = nn.Parameter(torch.empty(2, 4 * hidden, inputs))
        self.kernel_h = nn.Parameter(torch.empty(2, 4 * hidden, 2 * hidden))
        self.bias = nn.Parameter(torch.empty(2, 4 * hidden))
        self.to_left = nn.Linear(hidden, 2)
        self.to_right = nn.Linear(hidden, 2)
        self.combine = nn.Linear(4, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/√fan-in, as PyTorch's linear layers; the forget gates' bias is 1."""
        hidden = self.kernel_h.shape[1] // 4
        for kernel in (self.kernel_x, self.kernel_h):
            nn.init.uniform_(kernel, -(kernel.shape[2] ** -0.5), kernel.shape[2] ** -0.5)
        with torch.no_grad():
            self.bias.zero_()
            self.bias[:, hidden : 2 * hidden] = 1.0

    def states(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """h^l and h^r, the latter shifted down: x (B, C, m, n), query (B, Q) → (2, B, t, m, n)."""
        context = self.context(x)
        channels = context.shape[1]
        # The embedding is the same at every position, so its part of K^x ⊛ [X^c, E q] is a bias for each image.
        embedded = torch.einsum("bd,rgd->rbg", self.embedding(x, query), self.kernel_x[:, :, channels:])
        bias = embedded + self.bias.unsqueeze(1)
        return diagonal_lstm(context, bias, self.kernel_x[:, :, :channels], self.kernel_h, self.implementation)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, m, n), query (B, Q) → score (B, 1, m, n)."""
        left, right = self.states(x, query).movedim(2, -1)
        parts = []
        for mean, spread in (self.to_left(left).unbind(-1), self.to_right(right).unbind(-1)):
            parts += [mean, F.softplus(spread)]
        return self.combine(torch.stack(parts, dim=-1)).movedim(-1, 1)
