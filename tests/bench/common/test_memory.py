"""Free memory, and memory that the process keeps."""

import platform

import pytest
import torch

from bench.common import memory
from tests.faults.helpers import finish, start_python

CPU = torch.device("cpu")


def test_free_memory_is_known_and_bounded_by_the_container(tmp_path):
    free = memory.free_memory(CPU)
    assert free is None or 1e6 < free < 1e14
    for name, text in (
        ("max", "5000\n"),
        ("current", "4000\n"),
        ("stat", "anon 9\ninactive_file 70\nactive_file 30\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._free_in_container(tmp_path) == 1100
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_in_container(tmp_path) is None
    assert memory._free_in_container(tmp_path / "none") is None


def test_a_quarter_of_a_large_memory_is_left_free(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 40_000_000_000)
    assert memory.fits_memory(30e9, CPU)
    assert not memory.fits_memory(30e9 + 1, CPU)
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    assert memory.fits_memory(1e18, CPU)


FAULTS = """
import resource, sys, torch
from bench.common.memory import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed(torch.device("cpu"))
convolve, images = torch.nn.Conv2d(3, 32, 3, padding=1), torch.rand(30, 3, 100, 100)
faults = []
for _ in range(7):
    convolve(images).relu().sum().backward()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-4])
"""


def test_freed_memory_is_reused_by_the_process():
    """The process reuses the memory of large tensors, so that the kernel does not map its pages again in each step."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("for glibc only")
    found = []
    for how in ("given back", "kept"):
        status, out, errors = finish(start_python(FAULTS, [how]))
        assert status == 0, errors
        found.append(int(out))
    assert found[0] > 3 * 9_000  # 38 MB are about 9,000 pages of 4 KB
    assert found[1] < found[0] / 4
