"""Workers of a sweep: their number, their GPUs, and clusters that do not answer."""

import pytest
import torch

from bench.runs import subprocess_worker, sweep_workers
from mnistref.common.child_process import ChildProcess
from mnistref.common.errors import UsageProblemError
from mnistref.generation import executors


def test_invalid_scheduler_address_is_refused(mini, monkeypatch):
    monkeypatch.setattr(executors, "_CONNECT_TIMEOUT_SECONDS", 1)
    with (
        pytest.raises(UsageProblemError, match="no Dask scheduler answers"),
        sweep_workers.dask_workers("tcp://127.0.0.1:9", 1),
    ):
        pass


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
