"""Free memory, whether data fit into it, and how the C library treats freed memory."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import torch

MARGIN_BYTES, MARGIN_SHARE = 1e9, 0.25
"""Free memory that data must not use: this many bytes, or this share of the free memory, whichever is more."""

_OUT_OF_MEMORY_TEXTS = (
    *("can't allocate memory", "Cannot allocate memory", "std::bad_alloc"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory"),
    *("could not create a memory", "could not create a primitive", "could not execute a primitive"),  # oneDNN
)
"""Parts of the error messages of PyTorch and its libraries when no memory is left."""


def fits_memory(size: float, device: torch.device) -> bool:
    """Return whether `size` bytes of data fit into the device's memory. If free memory is unknown, return True."""
    free = free_memory(device)
    return free is None or size <= free - max(MARGIN_BYTES, MARGIN_SHARE * free)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed(device: torch.device) -> bool:
    """Make the C library keep freed memory for later allocations, in a process that computes on a CPU.

    By default, glibc returns large blocks to the kernel at once. The largest tensors of a training step are then mapped
    page by page in each step. This took a quarter of the time of a step of `none` or `san` on 50 images of 100 px, and
    about 5 % of a step of `arnn`. The peak memory of the process does not change, but its memory does not shrink below
    the peak.

    Returns:
        Whether the C library supports this; glibc does.
    """
    mallopt = _glibc_function("mallopt") if device.type == "cpu" else None
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def give_back() -> None:
    """Return freed memory to the kernel, if the C library supports this."""
    trim = _glibc_function("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc_function(name: str) -> Any | None:
    """Return a function of glibc; None on other systems."""
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform == "linux" else None
    except (OSError, AttributeError):
        return None


def free_memory(device: torch.device) -> int | None:
    """Return the number of bytes that this process can still allocate; None if this is unknown.

    For a GPU this includes unused memory that PyTorch has reserved. For the host it respects the limit of the
    container.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    known = [free for free in (_free_on_host(), _free_in_container()) if free is not None]
    return min(known) if known else None


def _free_on_host() -> int | None:
    """Return the host's available memory (Linux), or half of its total memory (elsewhere); None if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _free_in_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what the limit of the control group leaves, counting file caches as free; None if there is no limit."""
    try:
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        files = int(stat["inactive_file"]) + int(stat["active_file"])
        return int(limit) - int(used) + files
    except (OSError, ValueError, KeyError):  # without a limit, memory.max is "max"
        return None


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that no memory was left, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # oneDNN's error for an unsupported operation contains the text of its memory error
    message = str(error).replace("could not create a primitive descriptor", "")
    return isinstance(error, RuntimeError) and any(text in message for text in _OUT_OF_MEMORY_TEXTS)
