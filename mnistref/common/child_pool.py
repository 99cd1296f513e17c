"""Several child processes behind the threads of an executor."""

import threading
from collections.abc import Callable
from typing import Any

from mnistref.common.child_process import ChildDiedError, ChildProcess


class ChildPool:
    """A number of children that run functions for the threads of an executor. See `executors.processes`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._own = threading.local()
        self._children: list[ChildProcess] = []
        self._changing = threading.Lock()
        self._over = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in the calling thread's own child, which is started at its first call."""
        child = getattr(self._own, "child", None)
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
        """End all children at once; no other one is started."""
        with self._changing:
            self._over = True
            for child in self._children:
                child.kill()

    def close(self) -> None:
        """End all children after their last answers."""
        for child in self._children:
            child.close()
