"""Training without enough memory: the address space of the process is limited before it trains."""

import json
import re

import pytest

from tests.faults.helpers import finish, start_python

resource = pytest.importorskip("resource")

DRIVER = """
import bench.common.memory
# `keep_freed` fragments the address space, which is limited here.
bench.common.memory.keep_freed = lambda _: None
import resource, sys, bench.runs.experiment, numba, torch
from bench.profiling.oom import find_fitting_batch
from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.networks import resolve
from dataclasses import replace
from mnistref.variants import get_variant
from cli import bench
# Once, so that libraries are loaded; then at most so many MB more than now.
recipe = replace(RECIPES["fast"], batch=8)
find_fitting_batch(resolve("pan"), recipe, get_variant("mini"), ComputeConfig(torch.device("cpu")))
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv.pop(1)) * 10**6
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
bench(sys.argv[1:])
"""


def train(mini, runs, megabytes: int, batch: int) -> tuple[int, str, str]:
    arguments = ["run", "--attn", "pan", "--data", str(mini), "--runs", str(runs), "--epochs", "1"]
    more = ["--batch", str(batch), "--threads", "1", "--device", "cpu"]
    return finish(start_python(DRIVER, [str(megabytes), *arguments, *more]))


def test_out_of_memory_error_names_a_batch_that_fits(rounds, mini, tmp_path, monkeypatch):
    if rounds < 200:
        pytest.skip("only in the long form: the fragmentation of a limited address space varies")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # every additional arena would reserve the same amount again
    code, _, errors = train(mini, tmp_path, 250, 400)
    assert code == 6, errors
    assert "Traceback" not in errors
    found = re.search(r"a batch of 400 does not fit into the memory of this machine; give --batch (\d+)", errors)
    assert found, errors
    (result,) = tmp_path.glob("*/result.json")
    assert json.loads(result.read_text())["status"] == "failed"
    assert found[0] in json.loads(result.read_text())["reason"]
    assert train(mini, tmp_path, 250, int(found[1]))[0] == 0
