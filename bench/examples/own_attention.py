"""A mechanism of your own.

Check it by `bench check own_attention.py:Compare`, train it by `bench run --attn own_attention.py:Compare`.
"""

import torch
from torch import nn


class Compare(nn.Module):
    """Cosine similarity of each position's feature with a vector that depends on the query."""

    def __init__(self, channels: int, query_dim: int, width: int = 16, sharpness: float = 8.0) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, width, kernel_size=1)  # (B, C, H, W) → (B, width, H, W)
        self.wanted = nn.Linear(query_dim, width)  # one-hot (B, Q) → (B, width)
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Return the score (B, 1, H, W) of the features x (B, C, H, W) for the one-hot query (B, Q)."""
        wanted = self.wanted(query)[:, :, None, None]
        similarity = torch.cosine_similarity(self.key(x), wanted, dim=1)  # (B, H, W), −1 … 1
        return self.sharpness * similarity.unsqueeze(1)  # the score (B, 1, H, W) may be any real numbers
