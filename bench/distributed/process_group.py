"""One run on several processes that torchrun started: who does what, and what they tell each other.

Every process has the whole network and takes the same steps. Of each batch it computes its rows (see `global_batch`);
gradients are summed before they are clipped, so that the weights are, within rounding, those of one process, and the
same bits on every process. The first process leads: it alone makes data and keeps records. All see the same files.
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

from bench.compute import Computing
from bench.distributed.global_batch import Rows, rows_of
from mnistref.common.errors import DataProblemError, RunProblemError, UsageProblemError

Made = TypeVar("Made")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others in a step; for what the first one does alone it waits without end."""
LOOK = 0.05
"""Seconds between two looks at whether the first process has said something."""


class LostError(RunProblemError):
    """Another process of the run has ended."""


class Alone:
    """The only process of a run: every row is its own, and nobody has to be told."""

    size = 1
    leads = True

    def rows(self, total: int) -> slice:
        """Which rows of a batch of `total` this process computes."""
        return slice(0, total)

    def share(self, total: int, questions: Rows | None = None) -> AbstractContextManager[None]:
        """In here a network computes this process's rows of a batch of `total`, and these of its questions."""
        return nullcontext()

    def add(self, values: Tensor) -> Tensor:
        """Sum a tensor of the same shape over the processes, in place. → it"""
        return values

    def tell(self, say: Callable[[], str]) -> str:
        """What the first process says, on every one of them: it alone calls `say`, and the others wait for it."""
        return say()

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """Call `make` on the first process, and when that is over on the others: what it makes, they find."""
        return make()

    def check(self, computing: Computing) -> None:
        """A usage error where several processes cannot compute so."""

    def begin(self, model: nn.Module, done: int) -> None:
        """All are about to train `model`, of which `done` steps are done."""


ALONE = Alone()


class Team(Alone):
    """One of several processes, `rank` of 0 … size − 1.

    Args:
        store: where the first one says things: `set`, `check` and `get` of torch.distributed's stores.
    """

    def __init__(self, rank: int, size: int, store: Any) -> None:
        self.rank, self.size, self._store = rank, size, store
        self.leads = rank == 0
        self._told = 0

    def rows(self, total: int) -> slice:
        """Consecutive ones; the parts differ by one at most, and the first process's is never empty."""
        return slice(-(-total * self.rank // self.size), -(-total * (self.rank + 1) // self.size))

    def share(self, total: int, questions: Rows | None = None) -> AbstractContextManager[None]:
        own = self.rows(total)
        return rows_of(Rows(own.start, own.stop, total), self.add, self.size, self.rank, questions)

    def add(self, values: Tensor) -> Tensor:
        """Raises LostError where another process has ended."""
        from torch import distributed

        try:
            distributed.all_reduce(values)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            why = " ".join(str(error).split())[:200]
            raise LostError(f"process {self.rank + 1} of {self.size}: another one ended and says why: {why}") from error
        return values

    def tell(self, say: Callable[[], str]) -> str:
        key = f"bench/{self._told}"
        self._told += 1
        if self.leads:
            said = say()
            self._store.set(key, said)
            return said
        while not self._store.check([key]):  # here, not in the store, which would not hear Ctrl-C
            time.sleep(LOOK)
        return self._store.get(key).decode()

    def in_turn(self, make: Callable[[], Made]) -> Made:
        made = make() if self.leads else None
        self.tell(str)
        return make() if made is None else made

    def check(self, computing: Computing) -> None:
        if computing.capture == "graph":
            raise UsageProblemError("--capture graph: not for several processes; leave it out, or torchrun")
        gpu, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if computing.device.type == "cuda" and gpu >= there:
            raise UsageProblemError(f"--nproc-per-node: process {gpu + 1} here, and {there} GPUs; each needs its own")

    def begin(self, model: nn.Module, done: int) -> None:
        """Give all the first one's weights: a module may have drawn some from another generator than torch's.

        A data error where a process has read another checkpoint than the first one.
        """
        first = int(self.tell(lambda: str(done)))
        if first != done:
            raise DataProblemError(
                f"the first process goes on after {first} steps and another after {done}: all must see the same files"
            )
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(self.add(value.contiguous() if self.leads else torch.zeros_like(value).contiguous()))


def launched() -> bool:
    """Whether torchrun started this process, and others with it."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def refuse(command: str) -> None:
    """A usage error under torchrun, for what several processes would do several times."""
    if launched():
        raise UsageProblemError(
            f"{command} under torchrun: only `bench run` is for several processes; leave torchrun out"
        )


@contextmanager
def join() -> Iterator[Alone]:
    """Be one of torchrun's processes, on a GPU of its own, or alone. All leave together when the block ends well."""
    if not launched():
        yield ALONE
        return
    from torch import distributed

    gpu, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpu < there:
        torch.cuda.set_device(gpu)
    store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))
    kinds = "cpu:gloo,cuda:nccl" if there else "gloo"
    distributed.init_process_group(kinds, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    team = Team(rank, size, store)
    with nullcontext() if team.leads else _silent():
        yield team
    team.tell(str)
    distributed.destroy_process_group()


@contextmanager
def _silent() -> Iterator[None]:
    """What is printed here, or logged and is no error, is left out: the first process says it."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        root.setLevel(before)
