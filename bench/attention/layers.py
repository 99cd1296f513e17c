"""Layers and helpers that several mechanisms use."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.kernels.transforms import in_func_transform


class QueryEmbedding(nn.Module):
    """A linear map without bias of the one-hot query: (B, Q) → (B, width). Without a query it returns zeros."""

    def __init__(self, query_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(query_dim, width, bias=False) if query_dim else None

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        """Return the embedding (B, width). `x` gives batch size, dtype and device if there is no query.

        Raises:
            ValueError: the module was constructed with a query width, but `query` is None.
        """
        if self.linear is None:
            return x.new_zeros(x.shape[0], self.width)
        if query is None:
            raise ValueError(f"query is None; this module needs a one-hot query of width {self.linear.in_features}")
        embedded: Tensor = self.linear(query)
        return embedded


def same_conv(channels: int, width: int, kernel: int, padding: str = "zeros", bias: bool = True) -> nn.Conv2d:
    """Return a convolution whose output has the size of its input.

    Args:
        channels: input channels.
        width: output channels.
        kernel: size of the kernel, odd.
        padding: zeros, replicate, reflect or circular.
        bias: whether it has a bias.

    Raises:
        ValueError: `kernel` is even.
    """
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel}: give an odd number")
    how: Any = padding
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, padding_mode=how, bias=bias)


def normalize_map(mask: Tensor) -> Tensor:
    """Return a map (B, 1, H, W) scaled to sum to 1. A map that is zero everywhere becomes uniform.

    A map with NaN or with a negative value is returned unchanged, so that later checks can report it.
    """
    total = mask.sum(dim=(2, 3), keepdim=True)
    uniform = 1 / (mask.shape[2] * mask.shape[3])
    scaled = torch.where(total > 0, mask / total.clamp_min(torch.finfo(mask.dtype).tiny), uniform)
    return torch.where(mask.detach().amin(dim=(2, 3), keepdim=True) >= 0, scaled, mask)


def one_hot(query: Tensor, queries: int, like: Tensor) -> Tensor:
    """Return query i8 (B,) as one-hot (B, queries), with the dtype of `like`.

    Inside `torch.func` transforms, values cannot be checked. A query out of range then gives a row of NaN.

    Raises:
        RuntimeError: a query is outside 0 … queries − 1.
    """
    if in_func_transform():
        hot = query.unsqueeze(-1) == torch.arange(queries, device=query.device)
        return hot.to(like.dtype).masked_fill(~hot.any(dim=-1, keepdim=True), torch.nan)
    return torch.nn.functional.one_hot(query, queries).to(like.dtype)
