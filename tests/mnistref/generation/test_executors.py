"""Shards made by the workers of a real Dask scheduler on loopback, some of which are killed on the way."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.generation import dispatch, executors, generate
from mnistref.generation.generate import Request
from tests.cluster import Cluster
from tests.helpers import TOP, digests, free_port

pytest.importorskip("distributed")


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "cluster")
    try:
        made.wait_for_scheduler()
        yield made
    finally:
        made.kill_all()


@pytest.fixture
def request_for(tmp_path, photo_folder, idx_folder, monkeypatch):
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)  # small sets of several shards

    def request_for(name: str) -> Request:
        sizes = {"train": 41, "val": 8, "test": 9}
        return Request("mbg", tmp_path / name, 0, sizes, str(idx_folder), str(photo_folder))

    return request_for


@contextlib.contextmanager
def meanwhile(harm: Callable[[], None]) -> Iterator[None]:
    """Do harm in a thread, and see that it was done."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(harm)
        yield
        future.result(60)


def test_cluster_with_a_killed_worker_gives_the_same_bytes(cluster, request_for, capfd):
    workers = [cluster.start_worker(), cluster.start_worker()]
    expected = digests(generate.generate(request_for("here"), workers=2))
    capfd.readouterr()
    with meanwhile(cluster.kill_busy):
        folder = generate.generate(request_for("there"), scheduler=cluster.address)
    assert sorted(worker.poll() for worker in workers if worker.poll() is not None) == [-signal.SIGKILL]
    assert digests(folder) == expected
    assert len([name for name in expected if name.endswith(".h5")]) == 6 + 1 + 2
    assert capfd.readouterr() == ("", "")
    shutil.rmtree(folder)  # what the cluster remembers is no reason to believe that the files are there
    assert digests(generate.generate(request_for("there"), scheduler=cluster.address)) == expected


def test_run_without_workers_ends_and_resumes_with_new_workers(cluster, request_for, monkeypatch):
    monkeypatch.setattr(executors, "WORKER_TIMEOUT_SECONDS", 4)
    monkeypatch.setattr(dispatch, "_POLL_SECONDS", 1)
    worker = cluster.start_worker()
    with (
        meanwhile(lambda: (cluster.kill_busy(), worker.wait(20))),
        pytest.raises(RunProblemError, match="no worker within 4 s"),
    ):
        generate.generate(request_for("there"), scheduler=cluster.address)
    cluster.start_worker()
    monkeypatch.setattr(executors, "WORKER_TIMEOUT_SECONDS", 60)
    folder = generate.generate(request_for("there"), scheduler=cluster.address)
    assert digests(folder) == digests(generate.generate(request_for("here")))


def test_a_run_whose_scheduler_dies_ends(cluster, request_for, monkeypatch):
    monkeypatch.setattr(executors, "_CONNECT_TIMEOUT_SECONDS", 4)
    cluster.start_worker()
    with (
        meanwhile(lambda: (cluster.kill_busy(), cluster.scheduler.kill())),
        pytest.raises(RunProblemError, match=r"scheduler is gone.*run again to resume"),
    ):
        generate.generate(request_for("there"), scheduler=cluster.address)


def test_data_error_in_a_cluster_worker_is_raised_in_the_parent(
    cluster, request_for, idx_folder, tmp_path, monkeypatch
):
    from mnistref.common.errors import DataProblemError

    cluster.start_worker()
    digits = tmp_path / "digits"
    shutil.copytree(idx_folder, digits)
    jobs = generate.make_jobs

    def change_digits(plan):
        (digits / "t10k-labels-idx1-ubyte").unlink()
        return jobs(plan)

    monkeypatch.setattr(generate, "make_jobs", change_digits)
    request = generate.Request("mini", tmp_path / "there", 0, {"train": 9, "val": 9, "test": 9}, str(digits))
    with pytest.raises(DataProblemError, match="no t10k-labels"):
        generate.generate(request, scheduler=cluster.address)


def blind_to(folder: Path) -> list[str]:
    """A command that runs another to which a folder is empty."""
    hide = ["unshare", "--mount", "bash", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    if not shutil.which("unshare") or subprocess.run([*hide, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs to mount")
    return hide


@pytest.mark.parametrize("hidden", ["", "datasets", "raw"])
def test_worker_without_the_shared_files_is_named_and_no_data_set_is_completed(hidden, cluster, request_for):
    request = request_for("there")
    (place := request.root / hidden).mkdir(parents=True)
    cluster.start_worker(under=blind_to(place))
    with pytest.raises(RunProblemError, match=r"worker \S+ \(process \d+\) does not see .*/there/(datasets|raw)/"):
        generate.generate(request, scheduler=cluster.address)
    assert not list(request.root.glob("datasets/*/SHA256SUMS"))
    cluster.kill_all()


def test_cluster_worker_of_another_version_refuses(cluster, request_for, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(TOP / "mnistref", other / "mnistref", ignore=shutil.ignore_patterns("__pycache__"))
    with open(other / "mnistref" / "render.py", "a") as file:
        file.write("# edited\n")
    cluster.start_worker(under=["env", f"PYTHONPATH={other}"])
    with pytest.raises(RunProblemError, match=r"^worker \S+ \(process \d+\): mnistref is .* here, .*install the same"):
        generate.generate(request_for("there"), scheduler=cluster.address)
    assert not list(tmp_path.glob("there/datasets/*/*.h5"))


def test_no_scheduler_is_a_usage_error_of_one_line(idx_folder, tmp_path):
    """As a command, so that what Dask would say beside it shows."""
    address = f"tcp://127.0.0.1:{free_port()}"
    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "generate", "--variant", "mref", "--digits", idx_folder]
    began = monotonic()
    done = subprocess.run(
        [*command, "--root", tmp_path, "--scheduler", address], capture_output=True, text=True, check=False
    )
    assert monotonic() - began < 30
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f"--scheduler {address}: no Dask scheduler answers" in done.stderr


@pytest.mark.parametrize("address", ["nowhere", "tcp://", "ftp://a:1", "tcp://a"])
def test_invalid_scheduler_address_is_a_usage_error(address, request_for):
    with pytest.raises(UsageProblemError, match=f"--scheduler {address}: give tcp://HOST:PORT"):
        generate.generate(request_for("there"), scheduler=address)


def test_missing_dask_error_names_the_extra(request_for, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageProblemError, match=r"pip install 'mnistref\[cluster\]'"):
        generate.generate(request_for("there"), scheduler="tcp://127.0.0.1:1")
