"""A copy of the package, for tests that change its files."""

import shutil
from pathlib import Path

import pytest

import mnistref
from tests.mnistref.common.compiled_package import CALLER

PACKAGE = Path(mnistref.__file__).parent


@pytest.fixture
def package_copy(tmp_path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "mnistref", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "caller.py").write_text(CALLER)
    return tmp_path
