"""Progress of a run: a progress bar, a log line per epoch, and event files for TensorBoard."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bench.common.number_format import describe_duration
from bench.config import CHECKPOINT_SECONDS
from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, TPR
from bench.evaluation.record_keys import VAL_ACCURACY
from bench.training.epoch import EpochRecord
from bench.training.trainer import Trainer
from mnistref.common.errors import UsageProblemError

log = logging.getLogger("bench")

FOLDER = "tensorboard"
_EPOCH_SCALARS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    VAL_ACCURACY: "accuracy/val",
    "lr": "lr",
}
MIN_ESTIMATE_SECONDS = 60.0
"""A training that takes longer than this is announced with an estimate of its duration."""
_MEASURED_STEPS, _MEASURED_SECONDS = 3, 2.0
"""The estimate is made after this number of steps and of seconds. The first step, which is slower, is not counted."""
_TEST_SCALARS = {ACCURACY: "accuracy/test", **{name: f"attention/{name}" for name in (MASK_CORRECTNESS, TPR)}}


@dataclass(frozen=True)
class ProgressOptions:
    """How a run reports its progress, how often it writes checkpoints, and whether it is timed.

    Attributes:
        log: one of `bench.config.LOGS`, or None.
        checkpoint_seconds: interval of checkpoints in seconds.
        timing: whether a training step and inference are timed after the test.
        on_step: called with the trainer after each step. It may test the network, but must not
            change anything.
    """

    log: str | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    timing: bool = True
    on_step: Callable[[Trainer], object] | None = None

    def require_packages(self) -> None:
        """Raise an error if a package for `log` is missing.

        Raises:
            UsageProblemError: a package is not installed.
        """
        if self.log == "tensorboard" and not find_spec("tensorboard"):
            raise UsageProblemError(
                "--log tensorboard: the package tensorboard is not installed; pip install tensorboard"
            )


class ScalarWriter(Protocol):
    """The part of TensorBoard's SummaryWriter that writes numbers."""

    def add_scalar(self, tag: str, scalar_value: object, global_step: int) -> object:
        """Write a number."""

    def flush(self) -> object:
        """Write all numbers to the disk."""


class TrainingEstimate:
    """Estimates once, after the first steps, how long a training takes.

    Args:
        steps: number of steps of the training from now on.
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self._first = math.inf  # the time of the first step's end
        self._is_done = False

    def after_step(self, now: float) -> str | None:
        """Return the estimate as one line, or None if it is not due or the training is short.

        Args:
            now: the time in seconds.
        """
        self._done += 1
        self._first = min(self._first, now)
        measured = self._done - 1
        if self._is_done or measured < _MEASURED_STEPS or now - self._first < _MEASURED_SECONDS:
            return None
        self._is_done = True
        seconds = (now - self._first) / measured
        remaining = seconds * (self._steps - self._done)
        if remaining < MIN_ESTIMATE_SECONDS:
            return None
        return f"about {describe_duration(remaining)} of training: {self._steps:,} steps, {seconds:.2g} s each"


class RunProgress:
    """Reports the progress of a run to the progress bar, the log and TensorBoard."""

    def __init__(self, bar: tqdm, writer: ScalarWriter | None, steps_done: int, is_shown: bool) -> None:
        self._bar, self._writer, self._steps_done, self._is_shown = bar, writer, steps_done, is_shown
        self._estimate = TrainingEstimate(bar.total - steps_done)

    def report_step(self, ends_epoch: bool = False) -> None:
        """Report a step. After the last step of an epoch, the validation follows."""
        self._bar.update()
        if ends_epoch:
            self._bar.set_postfix_str("validation")
        line = self._estimate.after_step(time.monotonic())
        if line and self._is_shown:
            log.info("%s", line)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[tqdm]:
        """Inside this context, show a progress bar of another part of the run instead of that of the training."""
        self._bar.close()
        with tqdm(total=total, unit=unit, disable=None if self._is_shown else True, desc=title) as bar:
            yield bar

    def report_phase(self, text: str) -> None:
        """Report that a part of the run begins that has no progress bar."""
        if self._is_shown:
            log.info("%s", text)

    def report_epoch(self, record: EpochRecord) -> None:
        """Report the record of an epoch."""
        log.info(
            "epoch %(epoch)3d  loss %(train_loss).3f  train %(train_accuracy).3f  val %(val_accuracy).3f"
            "  %(seconds).0f s",
            record,
        )
        self._steps_done = record["steps"]
        self._bar.set_postfix_str("")
        self._write_scalars(_EPOCH_SCALARS, record)

    def report_test(self, result: Mapping[str, object]) -> None:
        """Report the results of the test."""
        self._write_scalars(_TEST_SCALARS, result)

    def _write_scalars(self, names: Mapping[str, str], values: Mapping[str, object]) -> None:
        if self._writer is None:
            return
        for key, name in names.items():
            if values.get(key) is not None:
                self._writer.add_scalar(name, values[key], self._steps_done)
        self._writer.flush()


def _is_path_supported(folder: Path) -> bool:
    """Return whether TensorBoard can write to the folder, and log a warning if not."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        log.warning("%s: no event files, because TensorBoard requires paths in UTF-8; use another --root", folder)
        return False
    return True


@contextmanager
def track_progress(
    options: ProgressOptions | None, folder: Path, title: str, steps_done: int, total_steps: int
) -> Iterator[RunProgress]:
    """Inside this context, report the progress of a training.

    An interrupted training may have written events of later steps. These are removed or hidden.

    Args:
        options: how to report; None for no progress bar and no event files.
        folder: the folder of the run.
        title: text before the progress bar.
        steps_done: number of steps before this call.
        total_steps: number of steps of the whole training.
    """
    with ExitStack() as stack:
        writer = None
        if options and not steps_done:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        if options and options.log and _is_path_supported(folder):
            from torch.utils.tensorboard import SummaryWriter

            writer = stack.enter_context(SummaryWriter(str(folder / FOLDER), purge_step=steps_done + 1))
        stack.enter_context(logging_redirect_tqdm())
        disable = None if options else True  # None disables the bar unless standard error is a terminal
        bar = stack.enter_context(
            tqdm(total=total_steps, initial=steps_done, unit=" steps", disable=disable, desc=title)
        )
        yield RunProgress(bar, writer, steps_done, options is not None)
