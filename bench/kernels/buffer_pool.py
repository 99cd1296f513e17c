"""Reuse of memory: mapping new pages takes as long as computing the values that are written to them."""

import os
import threading

import numpy as np

SLACK = 1.5
"""An array may have this many times the memory that is needed. Steps of a training differ in their questions."""


class Pool:
    """Lends flat arrays of uninitialised numbers. An array returns to the pool when nothing refers to it any more.

    An array that autograd has saved therefore stays unchanged as long as a graph needs it. Lent and unused memory
    together is at most the maximum that was lent at one time; the memory unused for longest is freed first.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._unused = self._lent = self._peak = 0
        # Reentrant, because the garbage collector may return an array during a call in the same thread.
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    @property
    def held(self) -> int:
        """Bytes of lent and unused arrays."""
        return self._lent + self._unused

    def take(self, count: int, dtype: np.typing.DTypeLike) -> np.ndarray:
        """Return (count,) uninitialised numbers."""
        size = count * np.dtype(dtype).itemsize
        with self._lock:
            fitting = [k for k, buffer in enumerate(self._free) if size <= buffer.nbytes <= SLACK * size]
            if fitting:
                buffer = self._free.pop(min(fitting, key=lambda k: (self._free[k].nbytes, -k)))
                self._unused -= buffer.nbytes
            else:
                buffer = np.empty(size, np.uint8)
            self._lent += buffer.nbytes
            self._peak = max(self._peak, self._lent)
            self._shrink()
        return np.asarray(_Lease(self, buffer))[:size].view(dtype)

    def take_back(self, buffer: np.ndarray) -> None:
        """Return the memory of an array to the pool."""
        with self._lock:
            self._lent -= buffer.nbytes
            self._unused += buffer.nbytes
            self._free.append(buffer)
            self._shrink()

    def _shrink(self) -> None:
        while self._free and self.held > self._peak:
            self._unused -= self._free.pop(0).nbytes


class _Lease:
    """The base of a lent array. It lives as long as any view of the array, in NumPy or in PyTorch."""

    def __init__(self, pool: Pool, buffer: np.ndarray) -> None:
        self._pool, self._buffer = pool, buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        self._pool.take_back(self._buffer)


POOL = Pool()
