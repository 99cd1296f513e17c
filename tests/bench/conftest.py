"""Fixtures for several tests of bench."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from bench.runs import records


@pytest.fixture
def interrupt_after(monkeypatch):
    """Return interrupt_after(epoch), a context that interrupts a training when the epoch is in its history."""

    @contextmanager
    def interrupt_after(epoch: int) -> Iterator[None]:
        append = records.append_history

        def interrupt(run: Path, record: dict) -> None:
            append(run, record)
            if record["epoch"] == epoch:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(records, "append_history", interrupt)
            yield

    return interrupt_after


@pytest.fixture
def checked_here(monkeypatch) -> None:
    """Check modules in this process, which is faster; test_isolation.py has the tests of the child process."""
    monkeypatch.setattr("bench.conformance.isolation.names_user_module", lambda _: False)


@pytest.fixture
def one_draw(monkeypatch):
    """Replace random normal numbers by 1, so that sampled mechanisms are deterministic."""
    monkeypatch.setattr(torch, "randn", torch.ones)
