"""Runs independent pieces of compiled work in parallel, on at most `torch.get_num_threads()` threads."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    """Return the pool of threads. Threads start on demand, and wait without spinning."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not survive a fork


def run_in_threads(pieces: Iterable[Callable[[], None]]) -> None:
    """Run all pieces, in any order, in this thread and in up to `torch.get_num_threads() − 1` others.

    Pieces must release the GIL to run in parallel, and must not write to the same memory. After all threads have
    stopped, the first error is raised.
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
        done = [helper for helper in helpers if not helper.cancel()]  # helpers that have not begun have no work left
        errors = [error for helper in done if (error := helper.exception())]
    for error in errors:
        raise error
