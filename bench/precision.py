"""What a network computes with: fp32 throughout, products of fp32 rounded to tf32, or bf16 by autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def products(precision: str) -> Iterator[None]:
    """While it is on, products and convolutions of fp32 round their factors to tf32 (10 bits of mantissa, on CUDA), or
    never do.

    PyTorch's own default rounds in convolutions and not in products. The setting is the process's, and is given back.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    rounded = precision == "tf32"
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    torch.backends.cudnn.allow_tf32 = rounded
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def casting(precision: str, device: torch.device) -> torch.autocast:
    """Autocast to bf16 for a forward pass, where that is the precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
