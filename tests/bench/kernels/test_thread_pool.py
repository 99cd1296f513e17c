"""Work that is divided among threads."""

import threading

import pytest
import torch

numba = pytest.importorskip("numba")
from bench.kernels.thread_pool import run_in_threads  # noqa: E402


def test_run_in_threads_does_each_piece_once_and_raises_errors():
    torch.set_num_threads(3)
    done = []

    def piece(k):
        done.append(k)
        if k == 3:
            raise ArithmeticError("three")

    run_in_threads([lambda k=k: piece(k) for k in range(3)])
    assert sorted(done) == [0, 1, 2]
    with pytest.raises(ArithmeticError, match="three"):
        run_in_threads([lambda k=k: piece(k) for k in range(6)])
    run_in_threads([])


def test_one_thread_is_the_calling_thread():
    names = set()
    run_in_threads([lambda: names.add(threading.get_ident())] * 5)
    assert names == {threading.get_ident()}
