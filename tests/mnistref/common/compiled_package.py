"""A program that calls compiled code of a copy of the package."""

import os
import subprocess
import sys
from pathlib import Path

CALLER = """
import logging
import numpy as np
from mnistref.common.numba_jit import compiled
from mnistref.rendering.resize import resize, resizer, scratch

@compiled
def call(tables, image, room, out):
    resize(tables, image, 8, room, out)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out = np.zeros((8, 8), np.uint8)
    call(resizer(5, 8), np.arange(25, dtype=np.uint8).reshape(5, 5) * 10, scratch(5, 8), out)
    print(int(out.sum()), sum(call.stats.cache_hits.values()))
"""


def sum_and_cache_hits(folder: Path, **environment: str) -> tuple[int, int]:
    """Run the compiled code in a new process. Return the sum of the pixels, and the number of cache hits."""
    total, hits = run(folder, **environment).stdout.split()
    return int(total), int(hits)


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "caller.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
