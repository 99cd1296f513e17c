"""The processes of one run, started by torchrun, and their communication.

Each process has the whole network and takes the same steps. Each process computes its rows of the batch (see
`global_batch`). Gradients are summed before they are clipped. The weights therefore have the same bits on every
process, and equal those of a single process within rounding. Rank 0 is the main process: only it makes data sets and
writes records. All processes need a shared file system.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.compute import ComputeConfig
from bench.distributed.global_batch import RowRange, global_batch_rows
from mnistref.common.errors import DataProblemError, RunProblemError, UsageProblemError

Made = TypeVar("Made")

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others in a step. It waits without limit for work that only rank 0 does."""
POLL_SECONDS = 0.05
"""Interval in which other ranks check whether rank 0 has sent a value."""


class ProcessLostError(RunProblemError):
    """Another process of the run has ended."""


class SingleProcess:
    """A run on a single process. Base class of `ProcessGroup`."""

    size = 1
    is_main = True

    def rows(self, total: int) -> slice:
        """Return the rows of a batch of `total` that this process computes."""
        return slice(0, total)

    def global_batch(self, total: int, questions: RowRange | None = None) -> AbstractContextManager[None]:
        """Inside this context, a network computes the rows of this process.

        Args:
            total: images of the global batch.
            questions: the rows of the questions, if there are several questions about an image.
        """
        return nullcontext()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it. It must have the same shape on all processes."""
        return values

    def broadcast(self, say: Callable[[], str]) -> str:
        """Return the result of `say` on rank 0, on every process.

        Other ranks do not call `say`, but wait for rank 0.
        """
        return say()

    def main_process_first(self, make: Callable[[], Made]) -> Made:
        """Run `make` on rank 0, then on the other ranks, which reuse its output."""
        return make()

    def require_supported(self, computing: ComputeConfig) -> None:
        """Raise an error unless several processes can compute with this configuration.

        Raises:
            UsageProblemError: they cannot.
        """

    def sync_weights(self, model: nn.Module, done: int) -> None:
        """Prepare the training of `model`, after `done` steps. All processes call it."""


SINGLE_PROCESS = SingleProcess()


class ProcessGroup(SingleProcess):
    """One of several processes of a run.

    Args:
        rank: rank of this process, 0 … size − 1.
        size: number of processes.
        store: a store of torch.distributed, with `set`, `check` and `get`.
    """

    def __init__(self, rank: int, size: int, store: Any) -> None:
        self.rank, self.size, self._store = rank, size, store
        self.is_main = rank == 0
        self._broadcasts = 0

    def rows(self, total: int) -> slice:
        """Return consecutive rows. Sizes differ by one at most, and rank 0 always has a row."""
        return slice(-(-total * self.rank // self.size), -(-total * (self.rank + 1) // self.size))

    def global_batch(self, total: int, questions: RowRange | None = None) -> AbstractContextManager[None]:
        """Inside this context, a network computes the rows of this process, see `SingleProcess.global_batch`."""
        own = self.rows(total)
        return global_batch_rows(RowRange(own.start, own.stop, total), self.all_reduce, self.size, self.rank, questions)

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it.

        Raises:
            ProcessLostError: another process has ended.
        """
        from torch import distributed

        try:
            distributed.all_reduce(values)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            why = " ".join(str(error).split())[:200]
            raise ProcessLostError(
                f"process {self.rank + 1} of {self.size}: another process ended, see its error ({why})"
            ) from error
        return values

    def broadcast(self, say: Callable[[], str]) -> str:
        """Return the result of `say` on rank 0, see `SingleProcess.broadcast`."""
        key = f"bench/{self._broadcasts}"
        self._broadcasts += 1
        if self.is_main:
            value = say()
            self._store.set(key, value)
            return value
        while not self._store.check([key]):  # poll here, because a wait in the store would ignore Ctrl-C
            time.sleep(POLL_SECONDS)
        received: bytes = self._store.get(key)
        return received.decode()

    def main_process_first(self, make: Callable[[], Made]) -> Made:
        """Run `make` on rank 0, then on the other ranks, see `SingleProcess.main_process_first`."""
        made = make() if self.is_main else None
        self.broadcast(str)
        return make() if made is None else made

    def require_supported(self, computing: ComputeConfig) -> None:
        """Raise an error unless several processes can compute so, see `SingleProcess.require_supported`."""
        if computing.capture == "graph":
            raise UsageProblemError("--capture graph does not work with several processes; omit it, or torchrun")
        gpu, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if computing.device.type == "cuda" and gpu >= there:
            raise UsageProblemError(
                f"--nproc-per-node: process {gpu + 1} on this machine has no GPU, there are {there}; start fewer"
            )

    def sync_weights(self, model: nn.Module, done: int) -> None:
        """Copy the weights of rank 0 to all processes.

        Modules may draw weights from generators other than torch's, which differ between processes.

        Raises:
            DataProblemError: a process has read another checkpoint than rank 0.
        """
        first = int(self.broadcast(lambda: str(done)))
        if first != done:
            raise DataProblemError(
                f"rank 0 resumes after {first} steps, another process after {done}; let all use the same files"
            )
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(
                    self.all_reduce(value.contiguous() if self.is_main else torch.zeros_like(value).contiguous())
                )


def is_launched_by_torchrun() -> bool:
    """Return whether torchrun started this process together with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def refuse(command: str) -> None:
    """Raise a usage error under torchrun, for a command that must not run on several processes.

    Raises:
        UsageProblemError: torchrun started this process together with others.
    """
    if is_launched_by_torchrun():
        raise UsageProblemError(
            f"{command} under torchrun: only `bench run` works with several processes; omit torchrun"
        )


@contextmanager
def join() -> Iterator[SingleProcess]:
    """Join the process group of torchrun, on a GPU of its own; without torchrun, yield `SINGLE_PROCESS`.

    All processes leave together if the block ends without an error.
    """
    if not is_launched_by_torchrun():
        yield SINGLE_PROCESS
        return
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    gpu, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpu < there:
        torch.cuda.set_device(gpu)
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    backend = "cpu:gloo,cuda:nccl" if there else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    group = ProcessGroup(rank, size, store)
    with nullcontext() if group.is_main else _silenced():
        yield group
    group.broadcast(str)
    distributed.destroy_process_group()


@contextmanager
def _silenced() -> Iterator[None]:
    """Suppress standard output and log messages below errors, because rank 0 prints them."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        root.setLevel(before)
