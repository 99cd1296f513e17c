"""The names of the package bench, which are imported when they are used."""

import subprocess
import sys

import pytest

import bench
from tests.helpers import TOP


def test_importing_bench_is_cheap():
    code = "import sys, bench; print(sorted({'torch', 'numpy', 'pandas', 'h5py', 'click'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", bench.__all__)
def test_all_public_names_of_bench_exist(name):
    assert getattr(bench, name) is not None
    assert name in dir(bench)
