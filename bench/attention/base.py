"""The contract of an attention mechanism.

Shapes: B images, C channels, H × W map, Q query width, K classes, P vectors an image, D their width.

A mechanism is a module made as `Class(channels, query_dim, **options)` and called as `module(x, query)`, with x
(B, C, H, W) and query (B, Q) one-hot; it returns a score map (B, 1, H, W), any real numbers. The network turns it into
an attended map (`Gate`, every slot but the last) or into vectors to classify (`Readout`, the last slot).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

BN_EPS = 0.01
"""BatchNorm's ε after attention, as in PAN's program."""


class Attended(NamedTuple):
    """What a slot hands on: features (B, C, H, W), and its map (B, 1, H, W) in 0 … 1."""

    features: Tensor
    mask: Tensor


class Reading(NamedTuple):
    """What the last slot hands to the classifier: `vectors` (B, P, D), and the slot's map (B, 1, H, W), or None.

    `weights` (B, P), summing to 1, where the answer is the mean of P answers; None where P = 1.
    """

    vectors: Tensor
    mask: Tensor | None
    weights: Tensor | None = None


class Gate(nn.Module):
    """a = sigmoid(score); features · a, then BatchNorm (PAN Eq. 1–2; ARNN suppl. Table 2)."""

    def __init__(self, score: nn.Module, channels: int) -> None:
        super().__init__()
        self.score = score
        self.norm = nn.BatchNorm2d(channels, eps=BN_EPS)

    def forward(self, x: Tensor, query: Tensor) -> Attended:
        mask = self.score(x, query).sigmoid()
        return Attended(self.norm(x * mask), mask)


class SoftmaxReadout(nn.Module):
    """a = softmax of the score over positions; the vector is Σ a · features (PAN Eq. 4 and 8–9)."""

    appends_query = False

    def __init__(self, score: nn.Module) -> None:
        super().__init__()
        self.score = score

    def forward(self, x: Tensor, query: Tensor) -> Reading:
        score = self.score(x, query)
        mask = score.flatten(1).softmax(dim=1).view_as(score)
        return Reading((x * mask).sum(dim=(2, 3)).unsqueeze(1), mask)


class AverageReadout(nn.Module):
    """No attention: the mean of the features; the query is appended to the vector later, as it entered nowhere."""

    appends_query = True

    def forward(self, x: Tensor, query: Tensor) -> Reading:
        return Reading(x.mean(dim=(2, 3)).unsqueeze(1), None)


class QueryEmbedding(nn.Module):
    """One-hot query → D numbers, without bias: (B, Q) → (B, D); zeros where there is no query."""

    def __init__(self, query_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(query_dim, width, bias=False) if query_dim else None

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        """`x` gives batch size, dtype and device where there is no query."""
        if self.linear is None:
            return x.new_zeros(x.shape[0], self.width)
        if query is None:
            raise ValueError(f"this module was made for a query of {self.linear.in_features}, and got none")
        return self.linear(query)


def one_hot(query: Tensor, queries: int, like: Tensor) -> Tensor:
    """Query i8 (B,) → (B, Q) of `like`'s dtype. Numbers outside 0 … Q − 1 raise."""
    return torch.nn.functional.one_hot(query, queries).to(like.dtype)
