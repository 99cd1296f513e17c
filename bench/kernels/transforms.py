"""Whether PyTorch transforms a function while it runs."""

import torch


def in_func_transform() -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, …) is on: values cannot be looked at there."""
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return bool(active())
