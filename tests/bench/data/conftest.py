"""Fixtures for the tests of data."""

import pytest

from tests.bench.data.helpers import prefetch_threads


@pytest.fixture(scope="module")
def two(make):
    """Return a data set whose training split fills one shard and begins another."""
    return make("mini", sizes={"train": 1203, "val": 40, "test": 41})


@pytest.fixture
def no_prefetch_thread_remains():
    """Check after a test that every prefetch thread ended."""
    yield
    assert not prefetch_threads()
