"""Where the scripts for a GPU put what must not come back with their results."""

import os
import shutil
import tempfile
from pathlib import Path

from mnistref.files import PARTIAL

MEMORY = Path("/dev/shm")
ROOM = 2_000_000_000
"""Bytes that must be free in memory; else the temporary folder is taken."""


def fast_folder() -> Path:
    """Return the folder in memory where it has room, else the temporary folder."""
    try:
        if os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
            return MEMORY
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def fresh_folder() -> Path:
    """Make a new folder that nobody else uses, with the number of this process in its name, and return it."""
    return Path(tempfile.mkdtemp(prefix=f"bench-session-{os.getpid()}-", dir=fast_folder()))


def remove_partial(out: Path) -> None:
    """Remove unfinished files that a killed call left in its folder of results."""
    for path in out.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)
