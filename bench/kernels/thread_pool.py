"""Independent pieces of compiled work over threads, as many as PyTorch may use."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    """Started on demand, one by one; they wait for work without spinning."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a child has none of its parent's threads


def run(pieces: Iterable[Callable[[], None]]) -> None:
    """Do all pieces, in any order, in this thread and in up to `torch.get_num_threads() − 1` others.

    The pieces must release the GIL to gain anything, and must not share what they write. The first error is raised
    after all threads have stopped.
    """
    waiting = list(pieces)[::-1]
    taking = threading.Lock()

    def work() -> None:
        while True:
            with taking:
                if not waiting:
                    return
                piece = waiting.pop()
            piece()

    helpers = [_helpers().submit(work) for _ in range(min(torch.get_num_threads(), len(waiting)) - 1)]
    try:
        work()
    finally:
        with taking:
            waiting.clear()
        done = [helper for helper in helpers if not helper.cancel()]  # one that has not begun would find nothing
        errors = [error for helper in done if (error := helper.exception())]
    for error in errors:
        raise error
