"""Mechanisms of the registry as modules, and inputs for them."""

import torch
from torch import Tensor, nn

from bench.attention import MECHANISMS

CHANNELS, QUERIES = 8, 4
WITH_CLASS = [name for name, m in MECHANISMS.items() if m.target]
"""The mechanisms that have a module."""


def score_of(name: str, last: bool = False, channels: int = 5, query_dim: int = 4, **options) -> nn.Module:
    """Return the module of a mechanism, in float64 and with the weights of seed 0."""
    torch.manual_seed(0)
    texts = [f"{k}={str(v).lower()}" for k, v in options.items()]
    return MECHANISMS[name].with_options(texts).build_module(channels, query_dim, last).double()


def inputs(
    height: int, width: int, batch: int = 3, channels: int = 5, query_dim: int = QUERIES
) -> tuple[Tensor, Tensor]:
    """Return random features (batch, channels, height, width) and one-hot queries (batch, query_dim), in float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    return x, torch.eye(query_dim, dtype=torch.float64)[torch.arange(batch) % query_dim]
