"""Several runs in one process: equal to the byte to runs in separate processes, in any order."""

import os
import signal
import threading
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from bench.kernels import pool
from bench.runs import records, subprocess_worker
from bench.runs.subprocess_worker import RunOutcome, Worker, WorkerReply
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.runs.sweep_helpers import planned, task_message

MEASURED = {"seconds", "relative_runtime"}
"""Fields that differ between two runs of the same configuration, in addition to times in milliseconds."""
NOTE = """
with open({log!r}, "a") as file:
    print(near.NAME, os.getpid(), file=file)
return self.score(x)
"""
"""A `forward` that writes the module that it imported and its process to a file."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Return a worker that all tests share, because the start of its process takes seconds."""
    one = Worker(threads=1)
    yield one
    one.close()


def read_records(run: Path) -> dict:
    """Return everything in the folder of a run, without times."""
    found: dict = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    result = records.read_json(run / records.RESULT)
    found[records.RESULT] = {k: v for k, v in result.items() if k not in MEASURED and "_ms" not in k}
    history = found[records.HISTORY].decode().splitlines()
    found[records.HISTORY] = [line.rpartition('"seconds"')[0] for line in history]
    return found


def test_runs_in_one_process_equal_runs_in_separate_processes_to_the_bit(tiny, tmp_path, rounds):
    """Runs of a compiled and sampled mechanism and of plain ones, each before and after the others."""
    tasks = planned(tiny, ("arnn-sampled", "pan", *(["cbam"] if rounds >= 200 else [])))
    for task in tasks:
        assert subprocess_worker.launch(task_message(task, tmp_path / "each"), threads=1) == RunOutcome("ok")
    expected = {task: read_records(tmp_path / "each" / task.config.run_id) for task in tasks}
    one, pids = Worker(threads=1), set()
    for k, task in enumerate((*tasks, *tasks[-2::-1])):
        runs = tmp_path / str(k)
        assert one.launch(task_message(task, runs)) == RunOutcome("ok")
        pids.add(one._process.pid)
        assert read_records(runs / task.config.run_id) == expected[task], task.name
    one.close()
    assert len(pids) == 1


@pytest.mark.long_form
def test_killed_process_fails_only_its_own_run(worker, tiny, tmp_path):
    first, second, third = planned(tiny, ("none", "pan", "san"))
    one, runs = worker, tmp_path / "runs"

    def kill_at_work() -> None:
        end = monotonic() + 60
        while not (runs / second.config.run_id / records.CONFIG).exists() and monotonic() < end:
            sleep(0.01)
        os.kill(one._process.pid, signal.SIGKILL)

    assert one.launch(task_message(first, runs)).status == "ok"
    before = one._process.pid
    killer = threading.Thread(target=kill_at_work)
    killer.start()
    ended = one.launch(task_message(second, runs))
    killer.join()
    assert ended.status == "failed"
    assert ended.reason.startswith("killed by SIGKILL")
    assert one.launch(task_message(third, runs)).status == "ok"
    idle = one._process.pid
    assert idle != before
    os.kill(idle, signal.SIGKILL)  # a process without a task
    one._process._process.wait()
    assert one.launch(task_message(second, runs)).status == "ok"
    assert one._process.pid != idle


def test_process_ends_after_a_failed_run(worker, tiny, tmp_path):
    good, bad = planned(tiny, ("none", "pan"))
    assert worker.launch(task_message(good, tmp_path)).status == "ok"
    assert worker._process is not None
    assert worker.launch(task_message(bad, tmp_path) | {"data": str(tmp_path / "nowhere")}).status == "failed"
    assert worker._process is None


def test_user_files_run_in_separate_processes(worker, tiny, tmp_path, checked_here):
    """Two files with the same name, and imports with the same name, are not confused."""
    log, names = tmp_path / "log", []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "near.py").write_text(f"NAME = {folder!r}\n")
        text = "import os\nimport near\n" + scorer("Own", NOTE.format(log=str(log)))
        names.append(f"{write_module(tmp_path / folder, text)}:Own")
    tasks = planned(tiny, ("none", names[0], "pan", names[1]))
    log.write_text("")  # files that were written during planning
    pids = []
    for task in tasks:
        assert worker.launch(task_message(task, tmp_path / "runs")).status == "ok"
        pids.append(worker._process.pid)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [task_message(task, tmp_path)["isolated"] for task in tasks] == [False, True, False, True]
    assert len({*pids}) == 1
    assert {name for name, _ in lines} == {"a", "b"}
    assert len({(name, pid) for name, pid in lines}) == 2
    assert not {str(pids[0])} & {pid for _, pid in lines}


def with_a_broken_kernel(task: dict) -> WorkerReply:
    with unittest.mock.patch.object(pool, "_tried", return_value="broken\nfor this test"):
        return subprocess_worker.run_task(task)


@pytest.mark.long_form
def test_worker_reports_a_broken_kernel(child, tiny, tmp_path):
    answer = child.call(with_a_broken_kernel, task_message(planned(tiny)[0], tmp_path))
    said = "the compiled pooling does not work here (broken for this test): slower plain operators are used"
    assert answer == WorkerReply(RunOutcome("ok", "", (said,)), True)


@pytest.mark.long_form
def test_worker_reports_a_task_that_it_cannot_read(tmp_path):
    ended = subprocess_worker.launch({"config": {}, "data": "", "runs": "", "files": {}})
    assert ended.status == "failed"
    assert "KeyError" in ended.reason
