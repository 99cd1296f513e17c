"""The cache of compiled code: missing, damaged, read-only and full folders."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mnistref.common.numba_jit import COMPILED
from tests.mnistref.common.compiled_package import run, sum_and_cache_hits

pytestmark = pytest.mark.skipif(not COMPILED, reason="numba is not installed")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_compiled_code_runs_without_a_cache_folder(package_copy):
    blocked = package_copy / "mnistref" / "rendering" / "__pycache__"
    blocked.write_text("a file where the folder should be")  # root cannot write there either
    nowhere = str(blocked / "home")
    total, hits = sum_and_cache_hits(package_copy, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONDONTWRITEBYTECODE="1")
    assert (total > 0, hits) == (True, 0)
    elsewhere = {"XDG_CACHE_HOME": str(package_copy / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert sum_and_cache_hits(package_copy, **elsewhere) == (total, 0)
    assert sum_and_cache_hits(package_copy, **elsewhere) == (total, 1)


def test_compilation_is_announced_once(package_copy):
    assert [line[:9] for line in run(package_copy).stderr.splitlines()] == ["compiling"]
    assert run(package_copy).stderr == ""
    (package_copy / "nowhere").write_text("")
    shutil.rmtree(package_copy / "mnistref" / "rendering" / "__pycache__")
    (package_copy / "mnistref" / "rendering" / "__pycache__").write_text("a file where the folder should be")
    nowhere = {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(package_copy / "nowhere")}
    assert "compiled code cannot be saved" in run(package_copy, **nowhere).stderr.splitlines()[1]


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


def test_damaged_cache_is_recompiled_and_replaced(package_copy, rounds):
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache")}
    total, _ = sum_and_cache_hits(package_copy, **cache)
    every = list(itertools.product(("nbi", "nbc"), (flip, cut, empty)))
    for kind, spoil in every if rounds >= 200 else [("nbi", cut), ("nbc", flip)]:
        files = list((package_copy / "cache").rglob(f"*.{kind}"))
        assert len(files) >= 2
        for file in files:
            spoil(file)
        assert sum_and_cache_hits(package_copy, **cache) == (total, 0), (kind, spoil)
        assert sum_and_cache_hits(package_copy, **cache) == (total, 1), (kind, spoil)


def test_unusable_cache_fails_no_call(package_copy):
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache"), "XDG_CACHE_HOME": str(package_copy / "user")}
    total, _ = sum_and_cache_hits(package_copy, **cache)
    for file in (package_copy / "cache").rglob("*.nb?"):
        replace_by_folder(file)  # root can neither read nor write it
    assert sum_and_cache_hits(package_copy, **cache) == (total, 0)
    assert sum_and_cache_hits(package_copy, **cache) == (total, 1)  # from the next cache folder


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


def test_filled_read_only_cache_is_used(package_copy, mounts):
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache"), "XDG_CACHE_HOME": str(package_copy / "user")}
    total, hits = sum_and_cache_hits(package_copy, **cache)
    assert hits == 0
    mounts(package_copy / "cache", "bind,ro", str(package_copy / "cache"))
    before = sorted((package_copy / "cache").rglob("*"))
    assert sum_and_cache_hits(package_copy, **cache) == (total, 1)
    assert sorted((package_copy / "cache").rglob("*")) == before
    assert not (package_copy / "user").exists()


def test_full_disk_of_the_cache_fails_no_call(package_copy, mounts):
    mounts(package_copy / "cache", "size=64k", "-t", "tmpfs", "tmpfs")
    (package_copy / "cache" / "filler").write_bytes(bytes(60_000))
    cache = {"NUMBA_CACHE_DIR": str(package_copy / "cache"), "XDG_CACHE_HOME": str(package_copy / "user")}
    total, _ = sum_and_cache_hits(package_copy, **cache)
    assert not list((package_copy / "cache").rglob("*.nbc*"))
    assert sum_and_cache_hits(package_copy, **cache) == (total, 1)  # cached in the next folder
