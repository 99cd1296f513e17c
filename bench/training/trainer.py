"""Training: (recipe, model, data) → a record per epoch. Touches the device and the clock, no files.

All randomness of an epoch (order, dropout) is keyed by seed and epoch, so that it is the same for every mechanism. What
is kept between two steps is enough to go on to the same bits, of a module that draws from torch's generators alone.
"""

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.grouping import parts_of, together
from bench.data.split import Batch, Split
from bench.distributed.global_batch import Rows
from bench.distributed.process_group import SINGLE_PROCESS, SingleProcess
from bench.evaluation.batch_size import in_memory
from bench.evaluation.evaluate import BATCH, DivergedError, accuracy
from bench.kernels.diagonal_lstm import IMPLEMENTATIONS
from bench.training.shared_step import step_of
from bench.training.step import optimizer_of

CHECKED = {"cpu": 1, "cuda": 50}
"""Steps between two looks at whether all is finite: a look makes the host wait for a GPU."""


class Epochs(Protocol):
    """What is trained on: so many questions an epoch. A split, or one that has other images in each epoch."""

    def __len__(self) -> int: ...

    @property
    def image_count(self) -> int:
        """How many images there are questions about."""

    def of_epoch(self, epoch: int) -> Split:
        """Of epoch 0, 1, …"""

    def close(self) -> None:
        """End what is being prepared."""


@dataclass
class EpochProgress:
    """The epoch that is under way.

    `sums` f8 (4,): of the losses, of the right answers, of the steps whose loss or gradient is not finite, of the
    questions.
    `drawn`: the states of the generators, where it goes on from a checkpoint.
    """

    steps: int
    lr: float
    seconds: float
    sums: torch.Tensor
    drawn: dict[str, torch.Tensor]


class Trainer:
    """Trains `model` on `train`, keeping the weights of the epoch with the best accuracy on `val`.

    `epochs()` yields a record after each epoch; `epoch` counts those that are over. `state()` and `restore()` carry
    everything over to another process, between two epochs or two steps. Several processes may train together, as a
    `group`: each on its rows of every batch, and all come to the same.

    `sizes`: batch of a step → how many images at a time to try in validation, see `evaluation.batch_size`; by
    default as many as in a step, 200 at most.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        train: Epochs,
        val: Split,
        seed: int,
        computing: ComputeConfig,
        group: SingleProcess = SINGLE_PROCESS,
        sizes: Callable[[int], list[int]] | None = None,
    ) -> None:
        self.recipe, self.model, self.train, self.val, self.seed = recipe, model, train, val, seed
        self.computing, self.group = computing, group
        self.together = together(recipe.questions)
        units = train.image_count if self.together else len(train)
        self.batch = min(recipe.batch, units)
        self.steps = units // self.batch
        self.sizes = sizes(self.batch) if sizes else [min(BATCH, self.batch)]
        self.optimizer = optimizer_of(recipe, model)
        self.step = step_of(group, model, recipe, self.optimizer, computing, self.batch)
        self.schedule = _schedule(recipe, self.optimizer, self.steps)
        self.epoch = 0
        self.under: EpochProgress | None = None
        # a module of one's own may have a constant buffer of infinities
        self._constant = {name for name, value in model.named_buffers() if not value.isfinite().all()}
        self.best_epoch, self.best_accuracy = 0, -1.0
        self.best_weights: dict[str, torch.Tensor] = {}
        self.ran: set[str] = set()
        """The implementations of the diagonal LSTM that ran so far, as whoever trains notes them."""

    @property
    def units(self) -> str:
        """What a step takes so many of."""
        return "images" if self.together else "questions"

    @property
    def done(self) -> int:
        """Steps so far."""
        return self.epoch * self.steps + (self.under.steps if self.under else 0)

    def epochs(self, on_step: Callable[[], object] = lambda: None) -> Iterator[dict[str, Any]]:
        """Run the epochs that are left; `on_step` is called after each step, and may ask for the `state`."""
        while self.epoch < self.recipe.epochs and not self._stale():
            under = self.under = self.under or self._begin()
            started = time.perf_counter() - under.seconds
            self._train_epoch(under, on_step)
            with self.computing.autocast():
                val = in_memory(self.sizes, self._validate)
            self.epoch += 1
            self.under = None
            if val > self.best_accuracy:
                self.best_epoch, self.best_accuracy = self.epoch, val
                self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            loss, right, _, questions = under.sums.tolist()
            yield {
                "epoch": self.epoch,
                "steps": self.done,
                "lr": under.lr,
                "train_loss": loss / self.steps,
                "train_accuracy": right / questions,
                "val_accuracy": val,
                "seconds": time.perf_counter() - started,
            }

    def _validate(self, size: int) -> float:
        return accuracy(self.model, self.val, size, self.group, f"validation after epoch {self.epoch + 1}")

    def _stale(self) -> bool:
        patience = self.recipe.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    @property
    def _key(self) -> int:
        return self.seed * 1_000_003 + self.epoch + 1

    def _begin(self) -> EpochProgress:
        torch.manual_seed(self._key)
        sums = torch.zeros(4, dtype=torch.float64, device=self.computing.device)
        return EpochProgress(0, self.optimizer.param_groups[0]["lr"], 0.0, sums, {})

    def _train_epoch(self, under: EpochProgress, on_step: Callable[[], object]) -> None:
        started = time.perf_counter() - under.seconds
        _set_generators(under.drawn)
        self.model.train()
        with closing(self._batches(under.steps)) as batches:
            for batch, rows in batches:
                self.step.questions = rows
                loss, logits, norm = self.step(batch.images, batch.query, batch.label, batch.image_index)
                right = self.group.all_reduce((logits.argmax(-1) == batch.label).sum())
                odd = ~(loss + norm).isfinite()
                asked = torch.full_like(right, rows.total if rows else self.batch)  # filled there, not copied
                under.sums += torch.stack([value.double() for value in (loss, right, odd, asked)])
                under.steps += 1
                if self.recipe.schedule == "onecycle" or under.steps == self.steps:
                    self.schedule.step()
                if under.steps % CHECKED[self.computing.device.type] == 0 and under.sums[2]:
                    raise DivergedError(self._place(f"the loss is {float(loss)}, the gradient's norm {float(norm)}"))
                under.seconds = time.perf_counter() - started
                on_step()
        kept = self.model.state_dict()
        if under.sums[2] or not all(kept[name].isfinite().all() for name in kept.keys() - self._constant):
            raise DivergedError(self._place("the loss, its gradient, a weight or a buffer is no finite number"))

    def _batches(self, first: int) -> Generator[tuple[Batch, Rows | None]]:
        """This process's rows of those of this epoch, from step `first` on; where questions share images, which of the
        step's questions they are."""
        if first == self.steps:
            return
        units = self.train.image_count if self.together else len(self.train)
        order = torch.randperm(units, generator=torch.Generator().manual_seed(self._key))
        order = order[: self.steps * self.batch].view(self.steps, self.batch)[first:]
        split, own = self.train.of_epoch(self.epoch), self.group.rows(self.batch)
        rows: Iterable[Rows | None] = itertools.repeat(None)
        parts = list(order[:, own])
        if self.together:
            parts, rows = parts_of(split.image.cpu(), order, own, self.recipe.questions, self.epoch, self.seed)
        each = split.of_parts(parts, lambda k: self._background(first + k), self.together)
        with closing(each) as batches:
            yield from zip(batches, rows, strict=False)

    def _place(self, what: str) -> str:
        return f"{what} in epoch {self.epoch + 1}, step {self.done - self.epoch * self.steps} of {self.steps}"

    def _background(self, step: int) -> float:
        """The brightness of what is no digit in a step of this epoch, 0 … 1."""
        fading = self.recipe.fade * self.recipe.epochs * self.steps
        return min(1.0, (self.epoch * self.steps + step) / fading) if fading else 1.0

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON values."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best_weights.items()}
        optimizer = self.optimizer.state_dict()
        for index, values in optimizer["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in values.items()}
        if self.under:
            tensors |= {"under/sums": self.under.sums} | {
                f"drawn/{k}": v for k, v in _generators(self.computing).items()
            }
        rest = {
            "epoch": self.epoch,
            "under": {k: getattr(self.under, k) for k in ("steps", "lr", "seconds")} if self.under else None,
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "groups": optimizer["param_groups"],
            "diagonal_lstm": sorted(self.ran),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if isinstance(v, int | float | list)},
        }
        return tensors, rest

    def _check(self, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
        """Refuse what this trainer could not have kept."""
        epoch, best, under = rest["epoch"], rest["best_epoch"], rest.get("under")
        counts = [epoch, best, *([under["steps"]] if under else [])]
        whole = all(isinstance(count, int) and count >= 0 for count in counts)
        if not whole or not best <= epoch <= self.recipe.epochs:
            raise ValueError("it counts epochs or steps that there are not")
        if not _finite(rest["best_accuracy"]) or (under and not (_finite(under["lr"]) and _finite(under["seconds"]))):
            raise ValueError("it holds what is no number")
        if under and (under["steps"] > self.steps or epoch == self.recipe.epochs):
            raise ValueError("it counts steps that there are not")
        known = {key: type(value) for key, value in self.schedule.state_dict().items()}
        if not all(isinstance(value, known.get(key, ())) for key, value in rest["schedule"].items()):
            raise ValueError("its schedule is another")
        for name, value in tensors.items():
            of, _, own = name.partition("/")
            if of in ("model", "best") and own not in self._constant and not value.isfinite().all():
                raise ValueError(f"{name} is no finite number")
        if not set(rest.get("diagonal_lstm", [])) <= set(IMPLEMENTATIONS):
            raise ValueError("it names an implementation of the diagonal LSTM that there is not")
        if self.best_epoch < best and not any(name.startswith("best/") for name in tensors):
            raise ValueError("the best weights are missing")

    def restore(self, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
        """Take over what `state` gave; a ValueError where it is not the state of such a training."""
        self._check(tensors, rest)
        self.model.load_state_dict(_below("model/", tensors))
        self.best_weights = {k: v.to(self.computing.device) for k, v in _below("best/", tensors).items()}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below("optimizer/", tensors).items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})
        self.schedule.load_state_dict(rest["schedule"])
        self.ran |= set(rest.get("diagonal_lstm", []))
        self.epoch, self.best_epoch, self.best_accuracy = rest["epoch"], rest["best_epoch"], rest["best_accuracy"]
        if under := rest.get("under"):
            sums = tensors["under/sums"].to(self.computing.device)
            if len(sums) == 3:  # of a version that knew one question about each image alone
                sums = torch.cat([sums, sums.new_tensor([under["steps"] * self.batch])])
            self.under = EpochProgress(under["steps"], under["lr"], under["seconds"], sums, _below("drawn/", tensors))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _generators(computing: ComputeConfig) -> dict[str, torch.Tensor]:
    """The states of the generators that a step draws from, u1, by device."""
    states = {"cpu": torch.get_rng_state()}
    if computing.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(computing.device)
    return states


def _set_generators(states: dict[str, torch.Tensor]) -> None:
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def _schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """One-cycle steps after every batch; "steps" with the last of an epoch: ÷1.5 before epoch 31, 43, 55 …"""
    if recipe.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=max(2, recipe.epochs * steps))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1.5 ** -(max(0, done - 30 + 12) // 12))


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
