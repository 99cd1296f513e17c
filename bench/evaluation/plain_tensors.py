"""Convert tensors, arrays and lists of any kind to plain dense tensors of real numbers. Pure.

What has one meaning is converted; anything else raises a ValueError of one line that says what to pass instead.
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
"""NumPy's kind and size in bytes → what torch can compute with; 0: any other size."""


def as_tensor(value: Any, what: str) -> Tensor:
    """Return numbers or booleans as a plain dense tensor of real numbers; `what` names them in a ValueError."""
    if isinstance(value, list | tuple) and value and all(isinstance(part, Tensor) for part in value):
        value = _stacked([plain(part, what) for part in value], what)
    value = plain(value, what) if isinstance(value, Tensor) else _from_numpy(value, what)
    if value.is_complex():
        raise ValueError(f"{what}: complex numbers; pass their size, abs()")
    if value.dtype in (torch.uint16, torch.uint32, torch.uint64):
        whole = value.long()
        return value.double() if value.dtype == torch.uint64 and (whole < 0).any() else whole  # 2**63 or more
    return value


def plain(value: Tensor, what: str) -> Tensor:
    """Return a tensor of any layout as a dense one without a subclass; `what` names it in a ValueError."""
    if isinstance(value, MaskedTensor):
        if not value.get_mask().all():
            raise ValueError(f"{what}: a masked tensor with masked entries; pass a plain one, such as to_tensor(0)")
        value = value.get_data()
    if value.is_nested:
        raise ValueError(f"{what}: a nested tensor; pass a dense one, such as torch.stack(tensor.unbind())")
    if value.is_meta:
        raise ValueError(f"{what}: a tensor on the meta device, which holds no values; pass one on the CPU or a GPU")
    if value.is_quantized:
        value = value.dequantize()
    try:
        return value.to_dense() if value.layout != torch.strided else value.as_subclass(Tensor)
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{what}: a tensor of layout {value.layout} that torch cannot make dense; pass a dense one"
        ) from error


def _stacked(parts: list[Tensor], what: str) -> Tensor:
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"{what}: tensors of several shapes; pass one tensor")
    return torch.stack(parts)


def _from_numpy(value: Any, what: str) -> Tensor:
    if _has_masked(value):
        raise ValueError(
            f"{what}: a masked array with masked entries; pass a plain one, such as .filled(0), or leave them out"
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what}: {type(value).__name__} is no array of numbers; pass a tensor or an array") from error
    if array.dtype.kind not in _NUMPY:
        raise ValueError(f"{what}: {type(value).__name__} of {array.dtype} holds no numbers; pass a tensor or an array")
    kind = _NUMPY[array.dtype.kind].get(array.dtype.itemsize, _NUMPY[array.dtype.kind][0])
    return torch.from_numpy(np.array(array, dtype=kind, order="C"))


def _has_masked(value: Any) -> bool:
    """Return whether an array has masked entries, or any array in lists of them."""
    if isinstance(value, list | tuple):
        return any(_has_masked(part) for part in value)
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value).any())
