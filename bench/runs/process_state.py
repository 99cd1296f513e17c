"""The state of a worker process between two runs: settings are restored, and memory is released."""

import gc
import logging
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from bench.common.default_device import restore_default_device
from bench.common.memory import give_back
from mnistref.dataset import forget_checks

_T = TypeVar("_T")

MAX_GROWTH_BYTES = 1e9
"""Maximal growth of the memory of a process, from the end of its first run to the end of another run."""
PERSISTENT_THREAD_PREFIX = "kernels"
"""Prefix of the names of threads that serve all runs of a process, see `bench.kernels.thread_pool`."""
_SWITCHES: tuple[tuple[object, str], ...] = (
    *((torch.backends.cudnn, name) for name in ("enabled", "benchmark", "benchmark_limit", "deterministic")),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)


def _saver(get: Callable[[], _T], set_value: Callable[[_T], object]) -> Callable[[], Callable[[], None]]:
    """Return a function that saves a setting, and returns a function that restores it if it has changed."""

    def save() -> Callable[[], None]:
        value = get()

        def restore() -> None:
            if get() != value:
                set_value(value)

        return restore

    return save


_SETTINGS = (
    _saver(torch.get_default_dtype, torch.set_default_dtype),
    _saver(torch.get_num_threads, torch.set_num_threads),
    _saver(torch.is_grad_enabled, torch.set_grad_enabled),
    _saver(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _saver(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    _saver(np.geterr, lambda errors: np.seterr(**errors)),
)
_first_size: list[float] = []
"""Memory of this process after its first run, in bytes; empty before that."""


class ProcessState:
    """The state of this process before a run. `restore` restores it after the run.

    It includes PyTorch's settings and random generators, environment variables, the working directory, the import path,
    and loggers. It does not include changes of user code to modules: a run with user modules needs a process of its
    own.
    """

    def __init__(self) -> None:
        self._settings = [save() for save in _SETTINGS]
        self._switches = [getattr(owner, name) for owner, name in _SWITCHES]
        self._device = torch.get_default_device()
        self._seed, self._generator_state = torch.initial_seed(), torch.get_rng_state()
        self._environment, self._import_path, self._folder = dict(os.environ), [*sys.path], os.getcwd()
        self._disabled_level = logging.root.manager.disable
        self._loggers = [(logger, _get_state(logger)) for logger in _list_loggers()]
        self._threads = {*threading.enumerate()}

    def restore(self) -> bool:
        """Restore the state, and return whether this process can be used for another run."""
        try:
            self._restore()
        except Exception:  # a state that cannot be restored must not affect another run
            return False
        return not self._has_new_threads() and not _exceeds_memory()

    def _restore(self) -> None:
        for restore_setting in self._settings:
            restore_setting()
        for (owner, name), value in zip(_SWITCHES, self._switches, strict=True):
            if getattr(owner, name) != value:
                setattr(owner, name, value)
        restore_default_device(self._device)
        for name in os.environ.keys() - self._environment:
            del os.environ[name]
        os.environ.update(self._environment)
        os.chdir(self._folder)
        sys.path[:] = self._import_path
        logging.disable(self._disabled_level)
        for logger, state in self._loggers:
            vars(logger).update({key: [*value] if isinstance(value, list) else value for key, value in state.items()})
        logging.root.manager._clear_cache()  # type: ignore[attr-defined] # it caches which levels are enabled
        torch.manual_seed(self._seed)  # sets the generators of all devices
        torch.set_rng_state(self._generator_state)
        random.seed()  # a new process has a new random seed too
        np.random.seed()  # noqa: NPY002 # user modules may draw from the global generator
        forget_checks()
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        give_back()

    def _has_new_threads(self) -> bool:
        """Return whether the run has left threads that would delay the end of the process."""
        new = [thread for thread in threading.enumerate() if thread not in self._threads and not thread.daemon]
        return any(not thread.name.startswith(PERSISTENT_THREAD_PREFIX) for thread in new)


def _list_loggers() -> list[logging.Logger]:
    entries = logging.root.manager.loggerDict.values()
    return [logging.root, *(logger for logger in entries if isinstance(logger, logging.Logger))]


def _get_state(logger: logging.Logger) -> dict[str, object]:
    names = ("level", "handlers", "filters", "disabled", "propagate")
    return {name: [*value] if isinstance(value := getattr(logger, name), list) else value for name in names}


def _exceeds_memory() -> bool:
    """Return whether this process has much more memory than after its first run; False if the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return False
    size = float(pages * os.sysconf("SC_PAGE_SIZE"))
    if not _first_size:
        _first_size.append(size)
    return size > _first_size[0] + MAX_GROWTH_BYTES
