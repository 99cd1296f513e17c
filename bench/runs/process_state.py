"""What a run may leave behind in a process that does several: settings are restored, and memory is given back."""

import gc
import logging
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common.memory import give_back
from mnistref.dataset import forget_checks

GROWTH = 1e9
"""Bytes that a process may hold after a run beyond what it held after its first one."""
KEPT_THREADS = "kernels"
"""The names of threads begin so that wait for work of every run, see `bench.kernels.thread_pool`."""
_SWITCHES: tuple[tuple[Any, str], ...] = (
    *((torch.backends.cudnn, name) for name in ("enabled", "benchmark", "benchmark_limit", "deterministic")),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (np.geterr, lambda errors: np.seterr(**errors)),
)
_first_size: list[float] = []
"""What this process held after its first run, once that is known."""


class ProcessState:
    """The state of this process before a run, which `restore` brings back after it.

    Kept are PyTorch's settings and generators, environment variables, the working directory, the places of imports, and
    loggers. What user code does to modules is not: a run with modules from outside needs a process of its own.
    """

    def __init__(self) -> None:
        self._settings = [get() for get, _ in _SETTINGS]
        self._switches = [getattr(place, name) for place, name in _SWITCHES]
        self._device = torch.get_default_device()
        self._seed, self._drawn = torch.initial_seed(), torch.get_rng_state()
        self._environment, self._path, self._place = dict(os.environ), [*sys.path], os.getcwd()
        self._disabled, self._loggers = logging.root.manager.disable, [(x, _state(x)) for x in _loggers()]
        self._threads = {*threading.enumerate()}

    def restore(self) -> bool:
        """Bring the state back. Return whether this process is fit for another run."""
        try:
            self._restore()
        except Exception:  # whatever cannot be restored must not reach another run
            return False
        return not self._has_new_threads() and not _has_grown()

    def _restore(self) -> None:
        for (get, put), value in zip(_SETTINGS, self._settings, strict=True):
            if get() != value:
                put(value)
        for (place, name), value in zip(_SWITCHES, self._switches, strict=True):
            if getattr(place, name) != value:
                setattr(place, name, value)
        if torch.get_default_device() != self._device:
            torch.set_default_device(self._device)
        for name in os.environ.keys() - self._environment:
            del os.environ[name]
        os.environ.update(self._environment)
        os.chdir(self._place)
        sys.path[:] = self._path
        logging.disable(self._disabled)
        for logger, state in self._loggers:
            vars(logger).update({key: [*value] if isinstance(value, list) else value for key, value in state.items()})
        logging.root.manager._clear_cache()  # type: ignore[attr-defined] # of which levels are on
        torch.manual_seed(self._seed)  # of all devices
        torch.set_rng_state(self._drawn)
        random.seed()  # a new process has other numbers each time
        np.random.seed()  # noqa: NPY002 # which is for modules that draw from the global generator
        forget_checks()
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        give_back()

    def _has_new_threads(self) -> bool:
        """Return whether the run left threads that Python waits for at its end."""
        new = [thread for thread in threading.enumerate() if thread not in self._threads and not thread.daemon]
        return any(not thread.name.startswith(KEPT_THREADS) for thread in new)


def _loggers() -> list[logging.Logger]:
    made = logging.root.manager.loggerDict.values()
    return [logging.root, *(logger for logger in made if isinstance(logger, logging.Logger))]


def _state(logger: logging.Logger) -> dict[str, Any]:
    names = ("level", "handlers", "filters", "disabled", "propagate")
    return {name: [*value] if isinstance(value := getattr(logger, name), list) else value for name in names}


def _has_grown() -> bool:
    """Return whether this process holds much more memory than after its first run. No, where that cannot be known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return False
    size = float(pages * os.sysconf("SC_PAGE_SIZE"))
    if not _first_size:
        _first_size.append(size)
    return size > _first_size[0] + GROWTH
