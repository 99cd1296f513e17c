"""Classifiers of networks: they read the vectors of the readout, and the query if no mechanism uses it.

Shapes: T questions, P vectors per question, D numbers per vector, Q queries, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from bench.attention.base import BN_EPS, Reading
from bench.attention.mechanism import Mechanism


class Classifier(nn.Module):
    """Base class: the vectors are transformed, the query is appended, and a linear layer gives the logits.

    Args:
        query_dim: Q, if the query is an input of the linear layer; otherwise 0.
    """

    classify: nn.Linear

    def __init__(self, query_dim: int) -> None:
        super().__init__()
        self.query_dim = query_dim

    def transform(self, x: Tensor) -> Tensor:
        """Return the input of the linear layer for vectors (N, D), without the query."""
        return x

    def forward(self, reading: Reading, query: Tensor) -> Tensor:
        """Return the logits (T, K).

        If there are P vectors per question, return log Σ_p weight_p · p(class | vector p).
        """
        batch, vectors, width = reading.vectors.shape
        x = self.transform(reading.vectors.reshape(-1, width))
        if self.query_dim:
            x = torch.cat([x, query.repeat_interleave(vectors, dim=0)], dim=1)
        logits: Tensor = self.classify(x).view(batch, vectors, self.classify.out_features)
        if reading.log_weights is None:
            return logits.squeeze(1)
        return (logits.log_softmax(-1) + reading.log_weights.unsqueeze(-1)).logsumexp(1)


class Head(Classifier):
    """BatchNorm, dropout, one linear layer.

    Args:
        width: D, numbers per vector.
        classes: number of classes, K.
        query_dim: Q, if the query is an input; otherwise 0.
        dropout: probability.
    """

    def __init__(self, width: int, classes: int, query_dim: int, dropout: float) -> None:
        super().__init__(query_dim)
        self.norm = nn.BatchNorm1d(width, eps=BN_EPS)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(width + query_dim, classes)

    def transform(self, x: Tensor) -> Tensor:
        """Return dropout(BatchNorm(x))."""
        out: Tensor = self.dropout(self.norm(x))
        return out


class LinearHead(Classifier):
    """One linear layer, as in residual networks. The arguments are those of `Head`."""

    def __init__(self, width: int, classes: int, query_dim: int) -> None:
        super().__init__(query_dim)
        self.classify = nn.Linear(width + query_dim, classes)


class NormedHead(Classifier):
    """BatchNorm, ReLU, dropout, one linear layer, as in LTPA's networks with attention.

    The arguments are those of `Head`.
    """

    def __init__(self, width: int, classes: int, query_dim: int, dropout: float) -> None:
        super().__init__(query_dim)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(width + query_dim, classes)

    def transform(self, x: Tensor) -> Tensor:
        """Return dropout(ReLU(BatchNorm(x)))."""
        out: Tensor = self.dropout(self.norm(x).relu())
        return out


class HiddenHead(Classifier):
    """Dropout and a linear layer, then as `NormedHead`: the classifier of LTPA's VGG.

    Args:
        width: D, numbers per vector.
        hidden: width of the hidden layer.
        classes: number of classes, K.
        query_dim: Q, if the query is an input of the last layer; otherwise 0.
        dropout: probability.
    """

    def __init__(self, width: int, hidden: int, classes: int, query_dim: int, dropout: float) -> None:
        super().__init__(query_dim)
        self.hidden = nn.Linear(width, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden + query_dim, classes)

    def transform(self, x: Tensor) -> Tensor:
        """Return dropout(ReLU(BatchNorm(linear(dropout(x)))))."""
        out: Tensor = self.dropout(self.norm(self.hidden(self.dropout(x))).relu())
        return out


class IndependentHeads(nn.Module):
    """One classifier for the vector of each level; their log-probabilities are added (LTPA, variant "indep").

    Args:
        widths: numbers of each level in the vector, shallow to deep.
        make_head: constructs the classifier of a level from its width.
    """

    def __init__(self, widths: Sequence[int], make_head: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.widths = [*widths]
        self.heads = nn.ModuleList(map(make_head, widths))

    def forward(self, reading: Reading, query: Tensor) -> Tensor:
        """Return the sum over the levels of the log-probabilities, (T, K)."""
        parts = reading.vectors.split(self.widths, dim=2)
        answers = [
            head(reading._replace(vectors=part), query).log_softmax(-1)
            for head, part in zip(self.heads, parts, strict=True)
        ]
        return torch.stack(answers).sum(0)


def make_heads(readout: Mechanism, widths: Sequence[int], make_head: Callable[[int], nn.Module]) -> nn.Module:
    """Return the classifier for the vectors of a readout: one head, or one for each level.

    Args:
        readout: the mechanism of the readout, whose `head` decides.
        widths: numbers of each level in the vector, shallow to deep.
        make_head: constructs a classifier from the width of its input.
    """
    return IndependentHeads(widths, make_head) if readout.head == "indep" else make_head(sum(widths))
