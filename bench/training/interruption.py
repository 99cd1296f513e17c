"""Ctrl-C during a training: a checkpoint of the last finished step is written before the training ends."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Self

from torch import Tensor

from bench.training import checkpoints
from bench.training.trainer import Trainer
from bench.training.trainer_state import TrainerState

log = logging.getLogger("bench")


class InterruptGuard:
    """Delays the first Ctrl-C until the current step is finished, and then writes a checkpoint of this step.

    A context manager around a training. During the validation of an epoch, Ctrl-C takes effect at once, and the
    checkpoint is that of the epoch's last step. A second Ctrl-C ends the process at once. Nothing changes outside the
    main thread, and if Ctrl-C is ignored or has the system's default handler.

    Args:
        run: the folder of the run.
        trainer: the training.
    """

    def __init__(self, run: Path, trainer: Trainer) -> None:
        self._run, self._trainer = run, trainer
        self._outer = signal.getsignal(signal.SIGINT)
        self._active = callable(self._outer) and threading.current_thread() is threading.main_thread()
        self._is_pending = False
        self._before_validation: tuple[dict[str, Tensor], TrainerState] | None = None

    def __enter__(self) -> Self:
        """Enter the context."""
        if self._active:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Restore the handler of Ctrl-C. If the validation was interrupted, write the checkpoint."""
        if self._active and (self._is_pending or signal.getsignal(signal.SIGINT) == self._handle):
            signal.signal(signal.SIGINT, self._outer)
        if kind is not None and not issubclass(kind, Exception) and self._before_validation:
            self._write(*self._before_validation)
        elif kind is None and self._is_pending:
            self._raise()

    def finish_step(self) -> None:
        """End the training if Ctrl-C was pressed. Call this after each step."""
        if self._is_pending:
            self._write(*self._trainer.state())
            self._raise()
        current = self._trainer.current_epoch
        if self._active and current and current.steps == self._trainer.steps_per_epoch:
            tensors, values = self._trainer.state()
            self._before_validation = {name: value.clone() for name, value in tensors.items()}, values

    def finish_epoch(self) -> None:
        """Call this after each epoch, when its checkpoint is written."""
        self._before_validation = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._before_validation:
            self._raise(frame)
        self._is_pending = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _raise(self, frame: FrameType | None = None) -> None:
        """Call the handler that Ctrl-C had before, which raises an exception."""
        self._is_pending = False
        signal.signal(signal.SIGINT, self._outer)
        if callable(self._outer):
            self._outer(signal.SIGINT, frame)

    def _write(self, tensors: dict[str, Tensor], values: TrainerState) -> None:
        checkpoints.write(self._run, tensors, values)
        under = values["under"]
        epoch, steps = values["epoch"] + 1, under["steps"] if under else 0
        log.info("saved epoch %d, step %d; the same command resumes there, unless it has --restart", epoch, steps)
