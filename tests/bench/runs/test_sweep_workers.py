"""Workers of a sweep: their number, their GPUs, and clusters that do not answer."""

import pytest

from bench.runs import sweep_workers
from mnistref.common.errors import UsageProblemError
from mnistref.generation import executors


def test_invalid_scheduler_address_is_refused(mini, monkeypatch):
    monkeypatch.setattr(executors, "_CONNECT_TIMEOUT_SECONDS", 1)
    with (
        pytest.raises(UsageProblemError, match="no Dask scheduler answers"),
        sweep_workers.dask_workers("tcp://127.0.0.1:9", 1),
    ):
        pass
