"""Several runs in one process: equal to the byte to runs in separate processes, in any order."""

import logging
import os
import random
import signal
import threading
import unittest.mock
import warnings
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
import torch

from bench.kernels import pool
from bench.runs import collected_warnings, experiment, process_state, records, subprocess_worker, sweep, sweep_workers
from bench.runs.subprocess_worker import RunOutcome, Worker, WorkerReply
from bench.training.progress import ProgressOptions
from mnistref.common.child_process import ChildProcess
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.runs.sweep_helpers import planned

MEASURED = {"seconds", "relative_runtime"}
"""Fields that differ between two runs of the same configuration, in addition to times in milliseconds."""
NOTE = """
with open({log!r}, "a") as file:
    print(near.NAME, os.getpid(), file=file)
return self.score(x)
"""
"""A `forward` that writes the module that it imported and its process to a file."""


@pytest.fixture(scope="module")
def tiny(make) -> Path:
    return make("mini")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Return a worker that all tests share, because the start of its process takes seconds."""
    one = Worker(threads=1)
    yield one
    one.close()


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    """Return a process that runs functions of this module."""
    process = ChildProcess("tests.spoil")
    yield process
    process.close()


def task_message(task: sweep.Task, runs: Path) -> dict:
    return task.as_dict(runs, ProgressOptions())


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


def test_worker_reports_a_broken_kernel(child, tiny, tmp_path):
    answer = child.call(with_a_broken_kernel, task_message(planned(tiny)[0], tmp_path))
    said = "the compiled pooling does not work here (broken for this test): slower plain operators are used"
    assert answer == WorkerReply(RunOutcome("ok", "", (said,)), True)


def state() -> dict:
    """Return the state of a process that a run may change."""
    bench = logging.getLogger("bench")
    return {
        "dtype": str(torch.get_default_dtype()),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "products": torch.get_float32_matmul_precision(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "device": str(torch.get_default_device()),
        "switches": [getattr(place, name) for place, name in process_state._SWITCHES],
        "drawn": torch.rand(3, device="cpu").tolist(),
        "numpy": np.geterr(),
        "environment": dict(os.environ),
        "place": os.getcwd(),
        "filters": [*map(str, warnings.filters)],
        "loggers": [(log.level, len(log.handlers), log.propagate) for log in (logging.root, bench)],
        "disabled": logging.root.manager.disable,
    }


def change_state(*_: object, **__: object) -> None:
    """Change all state that `state` returns."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.set_default_device("meta")
    for place, name in process_state._SWITCHES:
        value = getattr(place, name)
        setattr(place, name, value + 1 if type(value) is int else not value)
    torch.manual_seed(7)
    np.seterr(all="raise")
    os.environ["SPOILT"] = "1"
    os.environ.pop("OMP_NUM_THREADS", None)
    os.chdir("/")
    warnings.simplefilter("error")
    logging.getLogger("bench").addHandler(logging.NullHandler())
    logging.getLogger("bench").propagate = False
    logging.root.setLevel(logging.DEBUG)
    logging.disable(logging.CRITICAL)
    random.seed(1)


def states_around(task: dict, linger: bool = False) -> tuple[dict, dict, dict, bool, bool]:
    """Return the state of a process before, in and after a run that changes it, and whether the process is reusable."""
    during: dict = {}
    over, numbers = threading.Event(), []

    def run(*_: object, **__: object) -> None:
        change_state()
        during.update(state())
        if linger:
            threading.Thread(target=over.wait).start()

    with torch.random.fork_rng():
        before = state()
    with unittest.mock.patch.object(experiment, "run", run):
        answer = subprocess_worker.run_task(task)
        after = state()
        for _ in range(2):
            random.seed(1)
            subprocess_worker.run_task(task)
            numbers.append(random.random())
    over.set()
    return before, during, after, answer.reusable, numbers[0] != numbers[1]


def test_process_state_is_restored_after_a_run(child, tiny, tmp_path):
    before, during, after, fit, anew = child.call(states_around, task_message(planned(tiny)[0], tmp_path))
    assert after == before
    assert all(during[name] != before[name] for name in before), during
    assert fit
    assert anew


def test_process_with_a_remaining_thread_does_no_other_run(child, tiny, tmp_path):
    *_, fit, _ = child.call(states_around, task_message(planned(tiny)[0], tmp_path), True)
    assert not fit


def test_a_process_that_has_grown_does_no_other_run(monkeypatch):
    monkeypatch.setattr(process_state, "_first_size", [])
    assert not process_state._exceeds_memory()
    monkeypatch.setattr(
        process_state, "_first_size", [process_state._first_size[0] - process_state.MAX_GROWTH_BYTES - 1]
    )
    assert process_state._exceeds_memory()


def test_warnings_of_other_packages_are_not_collected():
    """Warnings of compiled code for a function of this project are not collected either."""
    ours = {"__name__": "bench.anything", "warnings": warnings, "np": np}
    filters = [*warnings.filters]
    with warnings.catch_warnings(record=True) as shown, collected_warnings.collect_warnings() as lines:
        warnings.simplefilter("always")
        warnings.warn("theirs", RuntimeWarning, stacklevel=1)
        logging.getLogger("torch").warning("theirs")
        logging.getLogger("bench").info("no warning")
        exec("np.float64(1) / np.float64(0)", {**ours})
        assert lines == []
        exec("warnings.warn('ours', RuntimeWarning, stacklevel=9)\nwarnings.warn('ours')", ours)
        logging.getLogger("bench.part").warning("%s\n  more", "ours")
        logging.getLogger("mnistref").error("x" * 600)
    assert lines == ["ours", "ours more", "x" * 499 + "…"]
    assert [str(warning.message).split()[0] for warning in shown] == ["theirs", "divide", "ours", "ours"]
    assert warnings.filters == filters


def test_a_sweep_logs_each_warning_once(mini, tmp_path, caplog):
    class Told:
        def run_all(self, tasks):
            for task in tasks:
                yield (
                    task,
                    RunOutcome("failed", "no luck", ("the kernel failed", "the kernel failed", task.config.attn)),
                )

    tasks = planned(mini)
    sweep.sweep(tasks, tmp_path / "runs", Told())
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"{tasks[0].name}: the kernel failed",
        f"{tasks[0].name}: none",
        f"{tasks[1].name}: pan",
    ]


@pytest.mark.parametrize(
    ("workers", "gpus", "expected"),
    [
        (None, [], [None]),
        (3, [], [None] * 3),
        (None, ["0", "1"], ["0", "1"]),
        (1, ["0", "1"], ["0"]),
        (5, ["0", "1"], ["0", "1", "0", "1", "0"]),
        (3, ["GPU-7f"], ["GPU-7f"] * 3),
    ],
)
def test_workers_are_spread_over_the_gpus_in_turn(workers, gpus, expected):
    assert sweep_workers.assign_workers(workers, gpus) == expected


@pytest.mark.parametrize(
    ("count", "listed", "expected"),
    [
        (2, None, ["0", "1"]),
        (2, "", ["0", "1"]),
        (2, "3, 5", ["3", "5"]),
        (1, "MIG-a,-1,0", ["MIG-a"]),
        (0, "-1", []),
        (2, "4", ["0", "1"]),
    ],
)
def test_a_worker_is_given_a_gpu_that_the_sweep_may_use(count, listed, expected):
    assert sweep_workers.list_visible_gpus(count, listed) == expected


@pytest.mark.parametrize(
    ("limit", "workers", "expected"), [(None, 2, 4), (None, 16, 1), ("1", 2, 1), ("3", 2, 3), ("6", 2, 4), ("6", 16, 1)]
)
def test_the_threads_of_a_worker_are_its_share_of_the_cores_up_to_omp_num_threads(
    limit, workers, expected, monkeypatch
):
    """PyTorch reads OMP_NUM_THREADS when it starts. A worker process without a limit uses all cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    monkeypatch.setattr(torch, "get_num_threads", lambda: int(limit or 8))
    monkeypatch.setattr(sweep_workers, "processors", lambda: 8)
    for threads, number in ((None, expected), (5, 5)):
        with sweep_workers.local_workers("cpu", workers, threads) as launcher:
            assert launcher.threads == number


def test_each_worker_process_sees_only_one_gpu(monkeypatch):
    given = []

    class Noted(ChildProcess):
        def __init__(self, name: str, environment: dict) -> None:
            given.append(environment)
            raise OSError(11, "noted")

    monkeypatch.setattr(subprocess_worker, "ChildProcess", Noted)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with sweep_workers.local_workers("cuda", 3, threads=4) as launcher:
        for _ in range(3):
            assert "could not be started: noted" in launcher._launch({"config": {}, "isolated": False}).reason
    assert given == [{"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": gpu} for gpu in ("3", "5", "3")]
