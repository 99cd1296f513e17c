"""A mechanism of one's own: `bench check own_attention.py:Compare`, `bench run --attn own_attention.py:Compare`."""

import torch
from torch import nn


class Compare(nn.Module):
    """How well each position's feature matches a vector that the query asks for, by cosine similarity."""

    def __init__(self, channels: int, query_dim: int, width: int = 16, sharpness: float = 8.0) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, width, kernel_size=1)  # what is where: (B, C, H, W) → (B, width, H, W)
        self.wanted = nn.Linear(query_dim, width)  # what is asked for: one-hot (B, Q) → (B, width)
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        wanted = self.wanted(query)[:, :, None, None]
        similarity = torch.cosine_similarity(self.key(x), wanted, dim=1)  # (B, H, W), −1 … 1
        return self.sharpness * similarity.unsqueeze(1)  # the score, (B, 1, H, W): any real numbers
