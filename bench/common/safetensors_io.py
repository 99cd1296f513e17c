"""Conversion of named tensors to and from the safetensors format, which contains no executable code. Pure.

If the `safetensors` package is missing (a checkout with only torch installed), `encode_plainly` and `decode_plainly`
write and read the same format: the length of the header as u8, the header as JSON, and the bytes of the tensors,
concatenated.
"""

import json
import math
import struct
from collections.abc import Mapping

import torch

from mnistref.common.errors import DataProblemError

try:
    import safetensors.torch as library
except ImportError:
    library = None  # type: ignore[assignment]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def encode(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file.

    Tensors that share memory, such as tied weights and views, are written separately. `load_state_dict` restores the
    sharing.
    """
    plain: dict[str, torch.Tensor] = {}
    addresses: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        address = own.untyped_storage().data_ptr()
        plain[name] = own.clone() if address in addresses else own
        addresses.add(address)
    return library.save(plain) if library else encode_plainly(plain)


def decode(data: bytes, name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file.

    Args:
        data: the content of the file.
        name: the name of the file in an error message.

    Raises:
        DataProblemError: the bytes are not a safetensors file.
    """
    try:
        return library.load(data) if library else decode_plainly(data)
    except Exception as error:  # the library raises its own class, and others for unexpected input
        raise DataProblemError(f"{name}: not a safetensors file ({error}); delete it") from error


def encode_plainly(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the result of `encode`, without the library."""
    header, parts, start = {}, [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        end = start + len(parts[-1])
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def decode_plainly(data: bytes) -> dict[str, torch.Tensor]:
    """Return the result of `decode`, without the library.

    Raises:
        ValueError: the bytes are not a safetensors file; also KeyError, TypeError or struct.error.
    """
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise ValueError("the header is longer than the file")
    header = json.loads(data[8 : 8 + length])
    body = bytearray(data[8 + length :])
    tensors, ends = {}, [0]
    for name, entry in sorted(
        ((n, e) for n, e in header.items() if n != "__metadata__"), key=lambda item: item[1]["data_offsets"]
    ):
        dtype, shape, (start, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        size = math.prod(shape) * dtype.itemsize
        if start != ends[-1] or end - start != size or end > len(body) or any(n < 0 for n in shape):
            raise ValueError(f"{name} is not at the offset in the header")
        flat = (
            torch.frombuffer(body, dtype=torch.uint8, count=size, offset=start)
            if size
            else torch.empty(0, dtype=torch.uint8)
        )
        tensors[name] = flat.clone().view(dtype).reshape(shape)
        ends.append(end)
    if ends[-1] != len(body):
        raise ValueError("the file is longer than its tensors")
    return tensors
