"""A run while it is on: a bar and a line per epoch for people, and event files for TensorBoard for who wants them."""

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
from mnistref.common.errors import UsageProblemError

log = logging.getLogger("bench")

FOLDER = "tensorboard"
_OF_EPOCHS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/val",
    "lr": "lr",
}
_OF_TESTS = {"accuracy": "accuracy/test", "mask_correctness": "attention/mask_correctness", "tpr": "attention/tpr"}


@dataclass(frozen=True)
class Watching:
    """Who is told of a run.

    `log`: one of `config.LOGS`, or None. `every`: seconds after which a training is kept on the disk. `look`: called
    with the `bench.training.trainer.Trainer` after each step. It may test the network, and must change nothing.
    """

    log: str | None = None
    every: float = EVERY
    look: Callable[[Any], object] | None = None

    def check(self) -> None:
        """A usage error where what it needs is not installed."""
        if self.log == "tensorboard" and not find_spec("tensorboard"):
            raise UsageProblemError("--log tensorboard: the package tensorboard is missing; pip install tensorboard")


class Watch:
    """What happens in a run, told to whoever watches."""

    def __init__(self, bar: tqdm, writer: Any | None, done: int) -> None:
        self._bar, self._writer, self._steps = bar, writer, done

    def step(self) -> None:
        self._bar.update()

    def epoch(self, record: Mapping[str, Any]) -> None:
        log.info(
            "epoch %(epoch)3d  loss %(train_loss).3f  train %(train_accuracy).3f  val %(val_accuracy).3f"
            "  %(seconds).0f s",
            record,
        )
        self._steps = record["steps"]
        self._scalars(_OF_EPOCHS, record)

    def tested(self, result: Mapping[str, Any]) -> None:
        self._scalars(_OF_TESTS, result)

    def _scalars(self, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        if self._writer is None:
            return
        for key, name in names.items():
            if values.get(key) is not None:
                self._writer.add_scalar(name, values[key], self._steps)
        self._writer.flush()


def _is_utf8(folder: Path) -> bool:
    """Whether TensorBoard takes the folder's path; if not, say so."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        log.warning("no event files: TensorBoard takes no path that is not UTF-8, such as %s", folder)
        return False
    return True


@contextmanager
def watch(watching: Watching | None, folder: Path, title: str, done: int, total: int) -> Iterator[Watch]:
    """Watch a training of `total` steps, of which so many are done: what was written of later ones is not shown.

    With None nobody is told of steps, and nothing is written.
    """
    with ExitStack() as stack:
        writer = None
        if watching and not done:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        if watching and watching.log and _is_utf8(folder):
            from torch.utils.tensorboard import SummaryWriter

            writer = stack.enter_context(SummaryWriter(str(folder / FOLDER), purge_step=done + 1))
        stack.enter_context(logging_redirect_tqdm())
        quiet = None if watching else True
        bar = stack.enter_context(tqdm(total=total, initial=done, unit=" steps", disable=quiet, desc=title))
        yield Watch(bar, writer, done)
