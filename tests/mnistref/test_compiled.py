"""Compiled code is cached, and never older than any source that it depends on."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mnistref
from mnistref.compiled import COMPILED, SOURCES

PACKAGE = Path(mnistref.__file__).parent
pytestmark = pytest.mark.skipif(not COMPILED, reason="numba is not installed")

CALLER = """
import numpy as np
from mnistref.compiled import compiled
from mnistref.resize import resize, resizer, scratch

@compiled
def call(tables, image, room, out):
    resize(tables, image, 8, room, out)

if __name__ == "__main__":
    out = np.zeros((8, 8), np.uint8)
    call(resizer(5, 8), np.arange(25, dtype=np.uint8).reshape(5, 5) * 10, scratch(5, 8), out)
    print(int(out.sum()), sum(call.stats.cache_hits.values()))
"""


def called(folder: Path, **environment: str) -> tuple[int, int]:
    """→ the sum of the pixels, and how often the cache was hit."""
    done = subprocess.run(
        [sys.executable, "caller.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    total, hits = done.stdout.split()
    return int(total), int(hits)


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "mnistref", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "caller.py").write_text(CALLER)
    return tmp_path


def test_a_change_in_what_is_called_compiles_the_caller_anew(copy):
    before, hits = called(copy)
    assert hits == 0
    assert called(copy) == (before, 1)
    source = copy / "mnistref" / "resize.py"
    source.write_text(source.read_text().replace("1 << (BITS - 1)", "1 << 3"))  # no longer rounds to the nearest
    after, hits = called(copy)
    assert after < before
    assert hits == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_without_a_place_for_the_cache_it_still_runs(copy):
    blocked = copy / "mnistref" / "__pycache__"
    blocked.write_text("a file where the folder should be")  # holds for root too
    nowhere = str(blocked / "home")
    total, hits = called(copy, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONDONTWRITEBYTECODE="1")
    assert (total > 0, hits) == (True, 0)
    elsewhere = {"XDG_CACHE_HOME": str(copy / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert called(copy, **elsewhere) == (total, 0)
    assert called(copy, **elsewhere) == (total, 1)


def test_all_that_compiled_code_imports_is_watched():
    seen, waiting = set(), ["render"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "mnistref":
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mnistref."):
                waiting.append(node.module.split(".")[1])
    assert seen == set(SOURCES)
