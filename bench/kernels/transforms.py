"""Whether PyTorch transforms a function while it runs, or looks at what it does."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def in_func_transform() -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, …) is on: values cannot be looked at there."""
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return bool(active())


def watched() -> bool:
    """Return whether anything looks at single operations, and would miss those that a compiled kernel stands for.

    That is a transform of `torch.func`, forward-mode differentiation, export, compilation, tracing, or a mode, as of
    several processes that share a batch.
    """
    return (
        in_func_transform()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
    )


def is_single(numbers: Tensor | None) -> bool:
    """Return whether it is a plain tensor in fp32 on the CPU."""
    if numbers is None or type(numbers) not in (Tensor, nn.Parameter):
        return False
    return numbers.dtype == torch.float32 and numbers.is_cpu
