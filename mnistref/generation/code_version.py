"""Which code this process runs, and where it runs: what machines that make one set together must agree on."""

import hashlib
import os
import platform
from pathlib import Path

from mnistref.common.version import VERSION


def _digest() -> str:
    """Of all our files: any may lie on the way to a pixel, and one installation is easily said and done."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()} ".encode() + path.read_bytes())
    return digest.hexdigest()


CODE = f"{VERSION} ({_digest()[:12]})"
"""Read when modules are, since a process goes on with what it has loaded when files change."""


def describe_process() -> str:
    return f"{platform.node()} (process {os.getpid()})"
