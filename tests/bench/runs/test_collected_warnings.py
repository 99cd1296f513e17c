"""Warnings of our own packages are collected, each once."""

import logging
import warnings

import numpy as np

from bench.runs import collected_warnings, sweep
from bench.runs.subprocess_worker import RunOutcome
from tests.bench.runs.sweep_helpers import planned


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
