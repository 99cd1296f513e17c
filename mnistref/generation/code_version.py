"""Identity of the running code and process, which the machines that generate one data set compare."""

import hashlib
import os
import platform
from pathlib import Path

from mnistref.common.version import VERSION


def _digest() -> str:
    """Return the SHA-256 of all source files of mnistref, since any of them may affect the pixels."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()} ".encode() + path.read_bytes())
    return digest.hexdigest()


CODE = f"{VERSION} ({_digest()[:12]})"
"""Version and digest of the code. Computed on import, because a process keeps running the code that it has loaded."""


def describe_process() -> str:
    """Return the host name and the process id, for messages."""
    return f"{platform.node()} (process {os.getpid()})"
