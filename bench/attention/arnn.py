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
        implementation: of the diagonal LSTM, see `bench.kernels.diagonal_lstm`; None for the fastest.
    """

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        hidden: int = 32,
        context: int = 3,
        width: int = 32,
        implementation: str | None = None,
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

    def states(self, x: Tensor, query: Tensor | None = None, readout: Tensor | None = None) -> Tensor:
        """h^l and h^r, the latter shifted down: x (B, C, m, n), query (B, Q) → (2, B, t, m, n).

        With a readout (2, p, t), its product with h in place of h, (2, B, p, m, n).
        """
        context = self.context(x)
        channels = context.shape[1]
        # The embedding is the same at every position, so its part of K^x ⊛ [X^c, E q] is a bias for each image.
        embedded = torch.einsum("bd,rgd->rbg", self.embedding(x, query), self.kernel_x[:, :, channels:])
        bias = embedded + self.bias.unsqueeze(1)
        kernel_x = self.kernel_x[:, :, :channels]
        return diagonal_lstm(context, bias, kernel_x, self.kernel_h, self.implementation, readout)

    def sides(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """f_l(h^l) and f_r(h^r): μ, and σ before its softplus, (2, B, 2, m, n)."""
        weight, bias = (
            torch.stack([left, right])
            for left, right in zip(self.to_left.parameters(), self.to_right.parameters(), strict=True)
        )
        return self.states(x, query, weight) + bias[:, None, :, None, None]

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """x (B, C, m, n), query (B, Q) → score (B, 1, m, n)."""
        mean, spread = self.sides(x, query).unbind(2)
        parts = torch.stack([mean[0], F.softplus(spread[0]), mean[1], F.softplus(spread[1])], dim=1)
        return torch.einsum("op,bpij->boij", self.combine.weight, parts) + self.combine.bias
