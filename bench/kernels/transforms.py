"""Whether PyTorch transforms a function, or observes its operations."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def in_func_transform() -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, …) is active.

    Values of tensors are inaccessible in such a transform.
    """
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return bool(active())


def watched() -> bool:
    """Return whether something observes single operations, so that a compiled kernel must not replace them.

    This is the case in a transform of `torch.func`, in forward-mode differentiation, export, compilation and tracing,
    and inside a function or dispatch mode, such as those of several processes with a common batch.
    """
    return (
        in_func_transform()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch._C._is_tracing()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
    )


def is_single(numbers: Tensor | None) -> bool:
    """Return whether this is a plain tensor in fp32 on the CPU."""
    if numbers is None or type(numbers) not in (Tensor, nn.Parameter):
        return False
    return numbers.dtype == torch.float32 and numbers.is_cpu
