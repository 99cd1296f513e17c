"""Versions, device, processor and commit of a run, without anything that identifies the machine or its user."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TypedDict

import torch

from bench.compute import ComputeConfig
from mnistref.common.errors import UsageProblemError
from mnistref.common.version import VERSION, versions_of

COMMIT_VARIABLE = "BENCH_COMMIT"
"""Environment variable with the commit of the code. It is used if the code is not a git checkout."""
_PACKAGES = ("h5py", "numba", "numpy", "pillow", "torch", "torchvision", "triton")
_GIT_TIMEOUT_SECONDS = 10


class Environment(TypedDict):
    """The content of environment.json, in addition to the number of processes.

    Attributes:
        bench: version of this package.
        git: commit of the code, see `get_commit`.
        python: version of Python.
        platform: operating system and architecture.
        packages: versions of packages, None if not installed.
        device: name of the GPU, or "cpu".
        processor: name of the processor.
        cores: number of cores of the machine.
        threads: number of threads that PyTorch uses.
        cuda: version of CUDA, None on a CPU.
    """

    bench: str
    git: str | None
    python: str
    platform: str
    packages: dict[str, str | None]
    device: str
    processor: str
    cores: int | None
    threads: int
    cuda: str | None


def collect_environment(computing: ComputeConfig) -> Environment:
    """Return the environment of this process."""
    return {
        "bench": VERSION,
        "git": get_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions_of(_PACKAGES),
        "device": computing.device_name,
        "processor": _get_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if computing.device.type == "cuda" else None,
    }


def get_commit() -> str | None:
    """Return 12 digits of the commit of the checkout, or else of the environment variable; None if both are missing.

    Raises:
        UsageProblemError: the value of the variable is not a commit.
    """
    value = os.environ.get(COMMIT_VARIABLE, "").strip()
    if value and not re.fullmatch(r"[0-9a-fA-F]{7,64}(-dirty)?", value):
        raise UsageProblemError(
            f"{COMMIT_VARIABLE}={value!r}: use a commit, 7 to 64 digits of 0-9 and a-f, or unset it"
        )
    digits, dirty, _ = value.lower().partition("-dirty")
    return _get_git_commit() or (digits[:12] + dirty if value else None)


def _get_processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _get_git_commit() -> str | None:
    """Return the commit of the checkout that contains this file; None if no checkout contains it."""
    described = _run_git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    is_tracked = _run_git("ls-files", "--error-unmatch", __file__) is not None
    return described if is_tracked else None


def _run_git(*arguments: str) -> str | None:
    """Return the output of a git command in the folder of this file; None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
