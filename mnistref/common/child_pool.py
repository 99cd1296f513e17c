"""Child processes for the threads of an executor."""

import threading
from collections.abc import Callable
from typing import TypeVar

from mnistref.common.child_process import ChildDiedError, ChildProcess

_T = TypeVar("_T")


class ChildPool:
    """Child processes that run functions for the threads of an executor, one for each thread.

    Args:
        name: name of the processes in process lists.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._own = threading.local()
        self._children: list[ChildProcess] = []
        self._changing = threading.Lock()
        self._over = False

    def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run a function in the child process of the calling thread, which is started at its first call.

        Raises:
            ChildDiedError: the child ended before it answered. The next call starts a new one.
        """
        child: ChildProcess | None = getattr(self._own, "child", None)
        if child is None:
            with self._changing:
                if self._over:
                    raise ChildDiedError("the processes were ended")
                child = self._own.child = ChildProcess(self._name)
                self._children.append(child)
        try:
            return child.call(function, *arguments)
        except ChildDiedError:
            self._own.child = None
            raise

    def kill(self) -> None:
        """Kill all children. No further ones can start."""
        with self._changing:
            self._over = True
            for child in self._children:
                child.kill()

    def close(self) -> None:
        """End all children after their last answers."""
        for child in self._children:
            child.close()
