"""The names of the package mnistref, which are imported when they are used."""

import subprocess
import sys

import pytest

import mnistref
from tests.helpers import TOP


def test_mnistref_lists_its_public_names_and_refuses_others():
    assert "MnistRef" in mnistref.__all__
    with pytest.raises(AttributeError, match="nosuch"):
        mnistref.nosuch  # noqa: B018


def test_importing_mnistref_loads_no_heavy_packages():
    code = "import sys, mnistref; print(sorted({'torch', 'numpy', 'pandas', 'h5py'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", mnistref.__all__)
def test_all_public_names_of_mnistref_exist(name):
    assert getattr(mnistref, name) is not None
    assert name in dir(mnistref)
