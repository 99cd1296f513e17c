"""Progress of a run: a progress bar, a log line per epoch, and event files for TensorBoard."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bench.config import CHECKPOINT_SECONDS
from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, TPR
from bench.training.trainer import EpochRecord, Trainer
from mnistref.common.errors import UsageProblemError

log = logging.getLogger("bench")

FOLDER = "tensorboard"
_EPOCH_SCALARS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/val",
    "lr": "lr",
}
_TEST_SCALARS = {ACCURACY: "accuracy/test", **{name: f"attention/{name}" for name in (MASK_CORRECTNESS, TPR)}}


@dataclass(frozen=True)
class ProgressOptions:
    """How a run reports its progress, and how often it writes checkpoints.

    Attributes:
        log: one of `bench.config.LOGS`, or None.
        checkpoint_seconds: interval of checkpoints in seconds.
        on_step: called with the trainer after each step. It may test the network, but must not
            change anything.
    """

    log: str | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
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


class RunProgress:
    """Reports the progress of a run to the progress bar, the log and TensorBoard."""

    def __init__(self, bar: tqdm, writer: ScalarWriter | None, steps_done: int) -> None:
        self._bar, self._writer, self._steps_done = bar, writer, steps_done

    def report_step(self) -> None:
        """Report a step."""
        self._bar.update()

    def report_epoch(self, record: EpochRecord) -> None:
        """Report the record of an epoch."""
        log.info(
            "epoch %(epoch)3d  loss %(train_loss).3f  train %(train_accuracy).3f  val %(val_accuracy).3f"
            "  %(seconds).0f s",
            record,
        )
        self._steps_done = record["steps"]
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
        yield RunProgress(bar, writer, steps_done)
