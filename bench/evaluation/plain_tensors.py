"""Conversion of tensors, arrays and lists to plain dense tensors of real numbers.

Pure. A value with one possible meaning is converted; any other value raises a ValueError that explains what to pass.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.masked import MaskedTensor

_NUMPY: dict[str, dict[int, Any]] = {
    "b": {0: np.bool_},
    "i": {1: np.int8, 2: np.int16, 4: np.int32, 0: np.int64},
    "u": {1: np.uint8, 2: np.int32, 4: np.int64, 0: np.uint64},
    "f": {2: np.float32, 4: np.float32, 0: np.float64},
    "c": {0: np.complex128},
}
"""NumPy's kind, and its size in bytes → the type that torch gets; 0 stands for any other size."""


def as_tensor(value: object, label: str) -> Tensor:
    """Return numbers or booleans as a plain dense tensor of real numbers.

    Args:
        value: a tensor, an array, or lists of them.
        label: what error messages call it.

    Raises:
        ValueError: the value cannot be converted without losing its meaning.
    """
    if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
        value = _stacked([to_plain_tensor(part, label) for part in value], label)
    tensor = to_plain_tensor(value, label) if isinstance(value, Tensor) else _from_numpy(value, label)
    if tensor.is_complex():
        raise ValueError(f"{label}: complex numbers; pass their magnitudes, abs()")
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        integers = tensor.long()
        overflow = tensor.dtype == torch.uint64 and (integers < 0).any()  # 2**63 or more
        return tensor.double() if overflow else integers
    return tensor


def to_plain_tensor(value: Tensor, label: str) -> Tensor:
    """Return a tensor of any layout as a dense one without a subclass.

    Args:
        value: the tensor.
        label: what error messages call it.

    Raises:
        ValueError: it has masked entries, is nested, has no values, or cannot be made dense.
    """
    if isinstance(value, MaskedTensor):
        if not value.get_mask().all():
            raise ValueError(f"{label}: a masked tensor with masked entries; pass a plain one, such as to_tensor(0)")
        value = value.get_data()
    if value.is_nested:
        raise ValueError(f"{label}: a nested tensor; pass a dense one, such as torch.stack(tensor.unbind())")
    if value.is_meta:
        raise ValueError(f"{label}: a tensor on the meta device, which holds no values; pass one on the CPU or a GPU")
    if value.is_quantized:
        value = value.dequantize()
    try:
        return value.to_dense() if value.layout != torch.strided else value.as_subclass(Tensor)
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{label}: torch cannot convert the layout {value.layout}; pass a dense one") from error


def _stacked(parts: list[Tensor], label: str) -> Tensor:
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"{label}: tensors of different shapes; pass one tensor")
    return torch.stack(parts)


def _from_numpy(value: object, label: str) -> Tensor:
    if _has_masked(value):
        raise ValueError(
            f"{label}: a masked array with masked entries; pass a plain one, such as .filled(0), or leave them out"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{label}: {type(value).__name__} is not an array; pass a tensor or an array") from error
    if array.dtype.kind not in _NUMPY:
        raise ValueError(f"{label}: {type(value).__name__} of {array.dtype} is not numeric; pass a tensor or array")
    kind = _NUMPY[array.dtype.kind].get(array.dtype.itemsize, _NUMPY[array.dtype.kind][0])
    return torch.from_numpy(np.array(array, dtype=kind, order="C"))


def _has_masked(value: object) -> bool:
    """Return whether an array, or any array in lists of arrays, has masked entries."""
    if isinstance(value, list | tuple):
        return any(_has_masked(part) for part in value)
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value).any())
