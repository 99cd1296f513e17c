"""Sweeps that are killed, interrupted, or lose a worker leave no processes, and give the same numbers."""

import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from bench.config import RECIPES
from bench.runs import sweep, sweep_workers
from bench.training.checkpoints import FOLDER as CHECKPOINT
from tests.bench.runs.sweep_helpers import alone, done, outcome, planned
from tests.cluster import Cluster
from tests.faults.helpers import children, start_python


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(pid: int) -> list[int]:
    return children(pid, b"bench.runs.subprocess_worker")


def wait_until(condition, seconds=90):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it takes too long"
        sleep(0.05)


def start(mini, runs, *more: str) -> subprocess.Popen:
    """Start a sweep in a new process, on a data set in the root folder of the session."""
    code = (
        "import bench.config, dataclasses, sys, pathlib\n"
        "from bench.runs import experiment\n"
        "from mnistref.common.sigint import exit_silently_on_sigint\n"
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); exit_silently_on_sigint()\n"
        f"experiment.prepare_dataset = lambda *_: pathlib.Path({str(mini)!r})\n"
        "from cli import bench; bench(sys.argv[1:])"
    )
    arguments = ["sweep", "--attn", "none,pan", "--variant", "mini", "--seeds", "1", "--workers", "2"]
    return start_python(code, [*arguments, "--runs", str(runs), "--threads", "1", *more])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_stopped_sweep_ends_its_processes_and_resumes(rounds, mini, tmp_path, caplog):
    """A sweep is killed, then interrupted (with `--rounds 200`), then completed, and then has nothing left to do. Two
    workers give the same results as one.
    """
    runs, options = tmp_path / "runs", ("--epochs", "3", "--batch", "25")

    def has_its_workers(sweeping: int) -> bool:
        """Return whether the workers run. A worker without a run waits until the sweep ends."""
        return len(workers_of(sweeping)) == 2

    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130))[: 2 if rounds >= 200 else 1]:
        running = start(mini, runs, *options)
        wait_until(lambda: len(list(runs.glob(f"*/{CHECKPOINT}/state.json"))) == 2)
        wait_until(lambda pid=running.pid: has_its_workers(pid))
        workers = workers_of(running.pid)
        running.send_signal(end)
        _, errors = running.communicate(timeout=30)
        assert running.returncode == code, errors
        assert "Traceback" not in errors
        wait_until(lambda pids=workers: not any(alive(pid) for pid in pids), 10)
    last = start(mini, runs, *options)
    out, errors = last.communicate(timeout=240)
    assert last.returncode == 0, errors
    tasks = planned(mini, recipe=replace(RECIPES["fast"], epochs=3, batch=25))
    assert {Path(line).name: outcome(Path(line)) for line in out.splitlines()} == alone(tasks, tmp_path / "alone")
    caplog.clear()
    caplog.set_level("INFO")
    assert {ended.status for ended in done(tasks, runs).values()} == {"ok"}
    assert [record.message[:17] for record in caplog.records] == ["already finished:"] * 2


@pytest.mark.long_form
def test_sweep_on_a_cluster_survives_a_killed_worker(mini, tmp_path):
    pytest.importorskip("distributed")
    tasks = planned(mini)
    cluster = Cluster(tmp_path / "cluster")
    try:
        cluster.wait_for_scheduler()
        first, second = cluster.start_worker(), cluster.start_worker()

        def kill_one_at_work() -> None:
            wait_until(lambda: workers_of(first.pid))
            first.kill()

        killing = threading.Thread(target=kill_one_at_work)
        killing.start()
        with sweep_workers.dask_workers(cluster.address, threads=1) as launcher:
            ended = sweep.sweep(tasks, tmp_path / "runs", launcher)
        killing.join()
        assert first.wait(20) == -signal.SIGKILL
        assert second.poll() is None
    finally:
        cluster.kill_all()
    assert {e.status for e in ended.values()} == {"ok"}, ended
    for name, learned in alone(tasks, tmp_path / "alone").items():
        assert learned == outcome(tmp_path / "runs" / name)
