"""Tensors as flat arrays for compiled passes."""

import numpy as np
import torch
from torch import Tensor


def to_channels_last(x: Tensor) -> Tensor:
    """Return (·, C, H, W) as contiguous (·, H, W, C)."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def array(x: Tensor) -> np.ndarray:
    """Return a tensor as an array, which shares its memory if it is contiguous."""
    return x.detach().contiguous().numpy()


def flat(x: Tensor) -> np.ndarray:
    """Return a tensor as a flat array, which shares its memory if it is contiguous. bf16 becomes u2, its bits."""
    numbers = x.detach().contiguous().view(-1)
    return (numbers.view(torch.uint16) if x.dtype == torch.bfloat16 else numbers).numpy()
