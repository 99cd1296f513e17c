"""A pool of processes that breaks is said to be broken, whatever breaks first."""

import errno
import os
from concurrent.futures import BrokenExecutor
from multiprocessing import connection

import pytest

from mnistref.executors import processes


def test_a_pipe_closed_while_a_process_starts_is_a_broken_pool():
    """As when one worker is killed and the pool closes what the next one would have had."""
    with processes(1) as pool:
        pool._call_queue._writer.close()
        with pytest.raises(BrokenExecutor, match="a worker was killed"):
            pool.submit(os.getpid)


def test_an_error_of_the_system_stays_what_it_is(monkeypatch):
    def no_more(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with processes(1) as pool:
        monkeypatch.setattr(connection.reduction, "DupFd", no_more)
        with pytest.raises(OSError, match="Too many open files"):
            pool.submit(os.getpid)
        monkeypatch.undo()
