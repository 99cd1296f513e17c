"""A thread that computes the next items while the current one is used."""

import time
from contextlib import closing

import pytest

from bench.data.prefetch import prefetch
from tests.bench.data.helpers import prefetch_threads

pytestmark = pytest.mark.usefixtures("no_prefetch_thread_remains")


def counted(stopped, made, until=10**9):
    for k in range(until):
        made.append(k)
        yield k


def test_prefetch_returns_items_in_order_and_makes_no_surplus():
    made: list[int] = []
    with closing(prefetch(lambda stopped: counted(stopped, made, 20), depth=3)) as items:
        assert next(items) == 0
        time.sleep(0.1)
        assert made == [0, 1, 2, 3]
        assert list(items) == list(range(1, 20))
    assert not prefetch_threads()


def test_prefetch_raises_an_error_at_the_position_of_its_item():
    def make(stopped):
        yield 1
        raise OSError("the disk is gone")

    items = prefetch(make, depth=4)
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not prefetch_threads()


def test_prefetch_thread_is_told_to_stop():
    seen = []

    def make(stopped):
        yield 1
        while not stopped():
            time.sleep(0.001)
        seen.append("stopped")

    items = prefetch(make, depth=2)
    assert next(items) == 1
    items.close()
    assert seen == ["stopped"]
    assert not prefetch_threads()


def test_prefetch_thread_ends_when_its_iterator_is_deleted():
    items = prefetch(lambda stopped: counted(stopped, []), depth=2)
    next(items)
    assert prefetch_threads()
    del items
    assert not prefetch_threads()
