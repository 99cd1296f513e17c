"""A state without results of self-tests."""

import pytest

from bench.kernels.diagonal_lstm import VARIABLE, compiled_works


@pytest.fixture
def fresh_self_tests(monkeypatch):
    """Choose implementations anew: the variable is not set, and self-tests run again."""
    monkeypatch.delenv(VARIABLE, raising=False)
    compiled_works.cache_clear()
    yield
    compiled_works.cache_clear()
