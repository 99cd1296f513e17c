"""What a run is made with: versions, device, processor and code, without anything that tells whose machine it was."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from bench.compute import ComputeConfig
from mnistref.common.errors import UsageProblemError
from mnistref.common.version import VERSION, versions_of

COMMIT = "BENCH_COMMIT"
"""The environment variable with the commit of the code, for copies that are no checkout."""
_PACKAGES = ("h5py", "numba", "numpy", "pillow", "torch", "torchvision", "triton")


def environment(computing: ComputeConfig) -> dict[str, Any]:
    """Versions and device: what a reader needs to judge a number, nothing that tells whose machine it was."""
    return {
        "bench": VERSION,
        "git": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions_of(_PACKAGES),
        "device": computing.device_name,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if computing.device.type == "cuda" else None,
    }


def commit() -> str | None:
    """Return the commit of the checkout, or else of the environment variable, in 12 digits; None for neither.

    Raises UsageProblemError where the variable holds no commit.
    """
    said = os.environ.get(COMMIT, "").strip()
    if said and not re.fullmatch(r"[0-9a-fA-F]{7,64}(-dirty)?", said):
        raise UsageProblemError(f"{COMMIT}={said!r}: give a commit, 7 to 64 digits of 0-9 and a-f, or unset it")
    digits, dirty, _ = said.lower().partition("-dirty")
    return _git_commit() or (digits[:12] + dirty if said else None)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the checkout this file lies in, if it does."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 and tracked.returncode == 0 else None
