"""Pools of child processes: early end, and scripts without a main guard."""

import os
import subprocess
import sys
import time

import pytest

from mnistref.generation.executors import processes
from tests.helpers import TOP


def test_child_pool_stops_when_its_block_is_left(tmp_path):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), processes(2) as pool:  # noqa: PT012
        for _ in range(9):
            pool.submit(time.sleep, 99)
        time.sleep(0.5)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30


def test_a_pool_works_in_a_script_without_a_main_guard_and_from_standard_input(tmp_path):
    script = "from mnistref.generation.executors import processes\n"
    script += "with processes(2) as pool:\n    print(sum(pool.map(abs, [-1, 2])))\n"
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    for arguments, given in (([str(tmp_path / "script.py")], ""), (["-"], script)):
        done = subprocess.run(
            [sys.executable, *arguments],
            input=given,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "3\n"
