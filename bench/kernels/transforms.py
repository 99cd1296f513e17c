"""Transforms of PyTorch: whether one is active, and how `torch.compile` treats a function."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

F = TypeVar("F", bound=Callable[..., Any])


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


def is_feature(numbers: Tensor) -> bool:
    """Return whether this is a plain tensor on the CPU in fp32, or in bf16 under autocast."""
    if is_single(numbers):
        return True
    return type(numbers) is Tensor and numbers.dtype == torch.bfloat16 and numbers.is_cpu and casts_on_cpu()


def casts_on_cpu() -> bool:
    """Return whether autocast to bf16 is on for the CPU."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


def assume_constant_result(function: F) -> F:
    """Mark a function whose result `torch.compile` computes once, without tracing it, and takes as a constant.

    This has the effect of `torch.compiler.assume_constant_result`, which imports the compiler. The import takes
    seconds, and no command but a training needs it.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
