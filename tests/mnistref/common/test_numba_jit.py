"""Compiled code is cached, and recompiled if any source that it depends on changes."""

import ast
from pathlib import Path

import pytest

import mnistref
from mnistref.common.numba_jit import COMPILED, SOURCES
from tests.mnistref.common.compiled_package import sum_and_cache_hits

PACKAGE = Path(mnistref.__file__).parent
pytestmark = pytest.mark.skipif(not COMPILED, reason="numba is not installed")


def test_changed_callee_recompiles_the_caller(package_copy):
    before, hits = sum_and_cache_hits(package_copy)
    assert hits == 0
    assert sum_and_cache_hits(package_copy) == (before, 1)
    source = package_copy / "mnistref" / "rendering" / "resize.py"
    source.write_text(source.read_text().replace("1 << (BITS - 1)", "1 << 3"))  # no longer rounds to the nearest
    after, hits = sum_and_cache_hits(package_copy)
    assert after < before
    assert hits == 0


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
