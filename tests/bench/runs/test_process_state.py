"""The state of a process between two runs is restored, and a process that cannot be used again does no other run."""

import logging
import os
import random
import threading
import unittest.mock
import warnings

import numpy as np
import torch

from bench.runs import experiment, process_state, subprocess_worker
from tests.bench.runs.sweep_helpers import planned, task_message


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
