"""AttentionRNN: attention values that depend on the values above, to the left and to the right.

Khandelwal and Sigal, "AttentionRNN: A Structured Spatial Attention Mechanism", ICCV 2019, §3.

Decisions where the paper leaves a choice:

- g goes through tanh. (Eq. 8 writes σ for all gates.)
- Each σ of a Gaussian is made positive by softplus.
- The gates of the LSTMs and the linear layers f_l, f_r and f_comb have biases; the convolution K^c and the embedding
  of the query have none.
- f_comb has two outputs, μ and σ, if the attention is sampled. Otherwise it has one output, μ, because σ is not used.
- Sampled attention is drawn anew in every forward pass, in training and at test, from torch's global generator.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attention.layers import QueryEmbedding, same_conv
from bench.attention.options import require_at_least_one
from bench.kernels.diagonal_lstm import diagonal_lstm


class Gaussian(NamedTuple):
    """p(a_ij | earlier values): mean and standard deviation, each (B, 1, m, n); σ > 0."""

    mean: Tensor
    deviation: Tensor


def gaussian_product(left: Gaussian, right: Gaussian) -> Gaussian:
    """Return Γ for independent neighbours: the normalised product of two Gaussians (§3.2).

    1 / σ² = 1 / σ_l² + 1 / σ_r², and μ = σ² · (μ_l / σ_l² + μ_r / σ_r²).
    """
    a, b = left.deviation.square(), right.deviation.square()
    return Gaussian((left.mean * b + right.mean * a) / (a + b), left.deviation * right.deviation / (a + b).sqrt())


class AttentionRNN(nn.Module):
    """Score = μ of p(a_ij | a_<ij) (Eq. 4–10).

    It fits any CNN: apply it to the features of a layer, and a sigmoid to its score.

    Args:
        channels: h, channels of X.
        query_dim: Q, width of the one-hot query; 0 for none.
        hidden: t, width of the LSTM states; 1 or more.
        context: k, size of the convolution K^c (Eq. 9); odd.
        width: channels of the local context X^c, and of the query embedding that is concatenated to it; 1 or more.
        padding: padding of K^c: zeros, replicate, reflect or circular.
        independent: whether Γ is the product of the two Gaussians, instead of the learned f_comb (Eq. 10).
        sampled: whether the score is drawn from N(μ, σ²), with gradients to both.
        sigma_scale: factor of σ before drawing, 0 or more: 0 gives μ, more than 1 gives wider samples.
        implementation: name of an implementation of the diagonal LSTM, see `bench.kernels.diagonal_lstm`; None for the
            fastest one that can run.
    """

    chosen_by_name = ("independent", "sampled")
    """Arguments that are set by the mechanism's name in the registry, and that are no options for users."""

    def __init__(
        self,
        channels: int,
        query_dim: int = 0,
        hidden: int = 32,
        context: int = 3,
        width: int = 32,
        padding: str = "zeros",
        independent: bool = False,
        sampled: bool = False,
        sigma_scale: float = 1.0,
        implementation: str | None = None,
    ) -> None:
        super().__init__()
        require_at_least_one(hidden=hidden, context=context, width=width)
        if not 0 <= sigma_scale < float("inf"):
            raise ValueError(f"sigma_scale={sigma_scale}: give a finite number, 0 or more")
        self.implementation = implementation
        self.sampled, self.sigma_scale = sampled, sigma_scale
        self.context: nn.Module = same_conv(channels, width, context, padding, bias=False)
        self.embedding = QueryEmbedding(query_dim, width if query_dim else 0)
        inputs = width + self.embedding.width
        self.kernel_x = nn.Parameter(torch.empty(2, 4 * hidden, inputs))
        self.kernel_h = nn.Parameter(torch.empty(2, 4 * hidden, 2 * hidden))
        self.bias = nn.Parameter(torch.empty(2, 4 * hidden))
        self.to_left = nn.Linear(hidden, 2)
        self.to_right = nn.Linear(hidden, 2)
        self.combine = None if independent else nn.Linear(4, 2 if sampled else 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the kernels uniformly in ±1/√fan-in, as PyTorch's linear layers do.

        The bias of the forget gates is 1, all other biases are 0.
        """
        hidden = self.kernel_h.shape[1] // 4
        for kernel in (self.kernel_x, self.kernel_h):
            nn.init.uniform_(kernel, -(kernel.shape[2] ** -0.5), kernel.shape[2] ** -0.5)
        with torch.no_grad():
            self.bias.zero_()
            self.bias[:, hidden : 2 * hidden] = 1.0

    def prepare(self, x: Tensor) -> Tensor:
        """Return the part that does not depend on the query: x (B, C, m, n) → X^c (B, width, m, n) (Eq. 9)."""
        context: Tensor = self.context(x)
        return context

    def local_context(self, prepared: Tensor, query: Tensor | None) -> Tensor:
        """Return X^c, given the result of `prepare`."""
        return prepared

    def states(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the states (2, B, t, m, n): h^l, and h^r shifted down by one row.

        Args:
            x: features, (B, C, m, n).
            query: one-hot, (B, Q).
        """
        return self._states(self.prepare(x), query)

    def _states(self, prepared: Tensor, query: Tensor | None, readout: Tensor | None = None) -> Tensor:
        """Return the states, given the result of `prepare`.

        With a readout (2, p, t), return its product with h instead of h: (2, B, p, m, n).
        """
        context = self.local_context(prepared, query)
        channels = context.shape[1]
        # The embedding is the same at every position, so its part of K^x ⊛ [X^c, E q] is a bias for each image.
        embedded = torch.einsum("bd,rgd->rbg", self.embedding(context, query), self.kernel_x[:, :, channels:])
        bias = embedded + self.bias.unsqueeze(1)
        kernel_x = self.kernel_x[:, :, :channels]
        return diagonal_lstm(context, bias, kernel_x, self.kernel_h, self.implementation, readout)

    def sides(self, x: Tensor, query: Tensor | None = None) -> tuple[Gaussian, Gaussian]:
        """Return f_l and f_r: the distribution that each LSTM gives (Eq. 5)."""
        return self._sides(self.prepare(x), query)

    def _sides(self, prepared: Tensor, query: Tensor | None) -> tuple[Gaussian, Gaussian]:
        weight, bias = (
            torch.stack([left, right])
            for left, right in zip(self.to_left.parameters(), self.to_right.parameters(), strict=True)
        )
        left, right = self._states(prepared, query, weight) + bias[:, None, :, None, None]
        return _gaussian(left), _gaussian(right)

    def distribution(self, x: Tensor, query: Tensor | None = None) -> Gaussian:
        """Return p(a_ij | a_<ij) (Eq. 6). The deviation is 0 if f_comb computes μ only."""
        return self._distribution(self.prepare(x), query)

    def _distribution(self, prepared: Tensor, query: Tensor | None) -> Gaussian:
        left, right = self._sides(prepared, query)
        if self.combine is None:
            return gaussian_product(left, right)
        weight, bias = self.combine.parameters()
        # The gradient of such a small weight is a sum over all cells of the batch: slow on a GPU as a matrix product.
        numbers = torch.cat([*left, *right], dim=1)
        both = (weight[:, :, None, None] * numbers[:, None]).sum(2) + bias[:, None, None]
        if not self.sampled:
            return Gaussian(both, torch.zeros_like(both))
        return Gaussian(both[:, :1], F.softplus(both[:, 1:]))

    def answer(self, prepared: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, m, n) of `prepared` for the query (B, Q), with the dtype of `prepared`."""
        mean, deviation = self._distribution(prepared, query)
        if not self.sampled:
            return mean.to(prepared.dtype)
        # Draw in single precision at least, so that runs in half precision draw the same noise.
        noise = torch.randn(mean.shape, dtype=torch.promote_types(mean.dtype, torch.float32), device=mean.device)
        return (mean + self.sigma_scale * deviation * noise).to(prepared.dtype)

    def forward(self, x: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the score (B, 1, m, n) of x (B, C, m, n) for the query (B, Q), with the dtype of x."""
        return self.answer(self.prepare(x), query).to(x.dtype)


def _gaussian(numbers: Tensor) -> Gaussian:
    """Return μ and σ from any real numbers (B, 2, m, n)."""
    mean, raw_deviation = torch.split(numbers, 1, dim=1)
    return Gaussian(mean, F.softplus(raw_deviation))
