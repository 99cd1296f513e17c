"""How much memory is free, whether a data set fits into it, and what becomes of memory that was used."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import torch

MARGIN, SHARE = 1e9, 0.25
"""What data must leave free for everything else: so many bytes, or this share of what is free, whichever is more."""

_SAID = (
    *("can't allocate memory", "Cannot allocate memory", "std::bad_alloc"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory"),
    *("could not create a memory", "could not create a primitive", "could not execute a primitive"),  # oneDNN
)
"""What messages of PyTorch and its libraries say when there is no memory left."""


def fits(size: float, device: torch.device) -> bool:
    """Whether `size` bytes of data may come into the device's memory. Where nobody can say, they may."""
    free = free_memory(device)
    return free is None or size <= free - max(MARGIN, SHARE * free)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed(device: torch.device) -> bool:
    """Let a process that computes on a CPU keep memory that it frees, for what it allocates next.

    → whether it does: the C library must be able to (glibc can).

    By itself glibc gives large pieces back to the kernel at once: a training step's largest tensors then come page by
    page anew in each step, which took a quarter of the time of one of `none` or `san` on 50 images of 100 px, and some
    5 % of one of `arnn`. A process holds as much as before at its most, but does not fall below it.
    """
    mallopt = _of_glibc("mallopt") if device.type == "cpu" else None
    return mallopt is not None and bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))


def give_back() -> None:
    """Give what this process has freed and kept back to the kernel, where the C library can."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any | None:
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform == "linux" else None
    except (OSError, AttributeError):
        return None


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still get: of a GPU, with what PyTorch holds unused; of the host, as the kernel and
    the container's limit say. None where that cannot be known."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    known = [free for free in (_of_the_machine(), _of_the_container()) if free is not None]
    return min(known) if known else None


def _of_the_machine() -> int | None:
    """On Linux what is available without swapping; elsewhere half of all there is, if that is known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the limit of the control group leaves, if there is one; what files take of it can be had back."""
    try:
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        files = int(stat["inactive_file"]) + int(stat["active_file"])
        return int(limit) - int(used) + files
    except (OSError, ValueError, KeyError):  # no limit reads "max"
        return None


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).replace("could not create a primitive descriptor", "")  # which is of what oneDNN does not know
    return isinstance(error, RuntimeError) and any(text in said for text in _SAID)
