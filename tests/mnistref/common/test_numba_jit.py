"""Compiled code is cached, and recompiled if any source that it depends on changes."""

import ast
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mnistref
from mnistref.common.numba_jit import COMPILED, SOURCES

PACKAGE = Path(mnistref.__file__).parent
pytestmark = pytest.mark.skipif(not COMPILED, reason="numba is not installed")

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


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "mnistref", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "caller.py").write_text(CALLER)
    return tmp_path


def test_changed_callee_recompiles_the_caller(copy):
    before, hits = sum_and_cache_hits(copy)
    assert hits == 0
    assert sum_and_cache_hits(copy) == (before, 1)
    source = copy / "mnistref" / "rendering" / "resize.py"
    source.write_text(source.read_text().replace("1 << (BITS - 1)", "1 << 3"))  # no longer rounds to the nearest
    after, hits = sum_and_cache_hits(copy)
    assert after < before
    assert hits == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_compiled_code_runs_without_a_cache_folder(copy):
    blocked = copy / "mnistref" / "rendering" / "__pycache__"
    blocked.write_text("a file where the folder should be")  # root cannot write there either
    nowhere = str(blocked / "home")
    total, hits = sum_and_cache_hits(copy, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONDONTWRITEBYTECODE="1")
    assert (total > 0, hits) == (True, 0)
    elsewhere = {"XDG_CACHE_HOME": str(copy / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert sum_and_cache_hits(copy, **elsewhere) == (total, 0)
    assert sum_and_cache_hits(copy, **elsewhere) == (total, 1)


def test_cache_key_covers_all_imports_of_compiled_code():
    seen, waiting = set(), ["mnistref.rendering.render"]
    while waiting:
        path = PACKAGE.parent.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mnistref"):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    assert seen == set(SOURCES)


def test_compilation_is_announced_once(copy):
    assert [line[:9] for line in run(copy).stderr.splitlines()] == ["compiling"]
    assert run(copy).stderr == ""
    (copy / "nowhere").write_text("")
    shutil.rmtree(copy / "mnistref" / "rendering" / "__pycache__")
    (copy / "mnistref" / "rendering" / "__pycache__").write_text("a file where the folder should be")
    nowhere = {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(copy / "nowhere")}
    assert "compiled code cannot be saved" in run(copy, **nowhere).stderr.splitlines()[1]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def test_damaged_cache_is_recompiled_and_replaced(copy, rounds):
    cache = {"NUMBA_CACHE_DIR": str(copy / "cache")}
    total, _ = sum_and_cache_hits(copy, **cache)
    every = list(itertools.product(("nbi", "nbc"), (flip, cut, empty)))
    for kind, spoil in every if rounds >= 200 else [("nbi", cut), ("nbc", flip)]:
        files = list((copy / "cache").rglob(f"*.{kind}"))
        assert len(files) >= 2
        for file in files:
            spoil(file)
        assert sum_and_cache_hits(copy, **cache) == (total, 0), (kind, spoil)
        assert sum_and_cache_hits(copy, **cache) == (total, 1), (kind, spoil)


def test_unusable_cache_fails_no_call(copy):
    cache = {"NUMBA_CACHE_DIR": str(copy / "cache"), "XDG_CACHE_HOME": str(copy / "user")}
    total, _ = sum_and_cache_hits(copy, **cache)
    for file in (copy / "cache").rglob("*.nb?"):
        replace_by_folder(file)  # root can neither read nor write it
    assert sum_and_cache_hits(copy, **cache) == (total, 0)
    assert sum_and_cache_hits(copy, **cache) == (total, 1)  # from the next cache folder


def mounted(place: Path, options: str, *kind: str) -> None:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *kind, "-o", options, str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")


@pytest.fixture
def mounts(tmp_path):
    """Return a function `mounts(place, options, *how)` that mounts a file system for this test."""
    done = []

    def mount(place: Path, options: str, *how: str) -> None:
        mounted(place, options, *how)
        done.append(place)

    yield mount
    for place in reversed(done):
        subprocess.run(["umount", str(place)], check=True)


def test_filled_read_only_cache_is_used(copy, mounts):
    cache = {"NUMBA_CACHE_DIR": str(copy / "cache"), "XDG_CACHE_HOME": str(copy / "user")}
    total, hits = sum_and_cache_hits(copy, **cache)
    assert hits == 0
    mounts(copy / "cache", "bind,ro", str(copy / "cache"))
    before = sorted((copy / "cache").rglob("*"))
    assert sum_and_cache_hits(copy, **cache) == (total, 1)
    assert sorted((copy / "cache").rglob("*")) == before
    assert not (copy / "user").exists()


def test_full_disk_of_the_cache_fails_no_call(copy, mounts):
    mounts(copy / "cache", "size=64k", "-t", "tmpfs", "tmpfs")
    (copy / "cache" / "filler").write_bytes(bytes(60_000))
    cache = {"NUMBA_CACHE_DIR": str(copy / "cache"), "XDG_CACHE_HOME": str(copy / "user")}
    total, _ = sum_and_cache_hits(copy, **cache)
    assert not list((copy / "cache").rglob("*.nbc*"))
    assert sum_and_cache_hits(copy, **cache) == (total, 1)  # cached in the next folder
