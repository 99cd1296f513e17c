"""Progress of a run: a progress bar, a log line per epoch, and event files for TensorBoard."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from bench.config import EVERY
from bench.evaluation.metric_names import ACCURACY, MASK_CORRECTNESS, TPR
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
    """How a run reports its progress.

    Attributes:
        log: one of `config.LOGS`, or None.
        every: interval of checkpoints in seconds.
        look: called with the `bench.training.trainer.Trainer` after each step. It may test the network, but must not
            change anything.
    """

    log: str | None = None
    every: float = EVERY
    look: Callable[[Any], object] | None = None

    def check(self) -> None:
        """Check that the packages for `log` are installed.

        Raises:
            UsageProblemError: a package is missing.
        """
        if self.log == "tensorboard" and not find_spec("tensorboard"):
            raise UsageProblemError("--log tensorboard: the package tensorboard is missing; pip install tensorboard")


class RunProgress:
    """Reports the progress of a run to the progress bar, the log and TensorBoard."""

    def __init__(self, bar: tqdm, writer: Any | None, done: int) -> None:
        self._bar, self._writer, self._steps = bar, writer, done

    def step(self) -> None:
        """Report that a step is done."""
        self._bar.update()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Report the record of an epoch."""
        log.info(
            "epoch %(epoch)3d  loss %(train_loss).3f  train %(train_accuracy).3f  val %(val_accuracy).3f"
            "  %(seconds).0f s",
            record,
        )
        self._steps = record["steps"]
        self._scalars(_EPOCH_SCALARS, record)

    def tested(self, result: Mapping[str, Any]) -> None:
        """Report the results of the test."""
        self._scalars(_TEST_SCALARS, result)

    def _scalars(self, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        if self._writer is None:
            return
        for key, name in names.items():
            if values.get(key) is not None:
                self._writer.add_scalar(name, values[key], self._steps)
        self._writer.flush()


def _is_path_supported(folder: Path) -> bool:
    """Return whether TensorBoard can write to the folder, and log a warning if not."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        log.warning("no event files: %s is not UTF-8, which TensorBoard requires; use another --root", folder)
        return False
    return True


@contextmanager
def watch(
    progress_options: ProgressOptions | None, folder: Path, title: str, done: int, total: int
) -> Iterator[RunProgress]:
    """Inside this context, report the progress of a training.

    Event files of later steps, which an interrupted training may have written, are removed or hidden.

    Args:
        watching: how to report; None to report nothing.
        folder: the folder of the run.
        title: text before the progress bar.
        done: number of steps that are already done.
        total: number of steps of the training.
    """
    with ExitStack() as stack:
        writer = None
        if progress_options and not done:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        if progress_options and progress_options.log and _is_path_supported(folder):
            from torch.utils.tensorboard import SummaryWriter

            writer = stack.enter_context(SummaryWriter(str(folder / FOLDER), purge_step=done + 1))
        stack.enter_context(logging_redirect_tqdm())
        disable = None if progress_options else True  # None disables the bar unless standard error is a terminal
        bar = stack.enter_context(tqdm(total=total, initial=done, unit=" steps", disable=disable, desc=title))
        yield RunProgress(bar, writer, done)
