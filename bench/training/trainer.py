"""The training loop. It uses the device and the clock, and no files.

The random draws of an epoch, such as the order of the questions and dropout, depend on the seed and the epoch only, so
that they are the same for every mechanism. A resumed training gives the same bits as an uninterrupted one if the
modules draw from torch's generators only.
"""

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.augmentation import Augmentation
from bench.data.grouping import image_sharing, parts_of
from bench.data.split import Batch, Split
from bench.distributed.global_batch import RowRange
from bench.distributed.process_group import SINGLE_PROCESS, SingleProcess
from bench.evaluation.batch_size import in_memory
from bench.evaluation.columns import DIAGONAL_LSTM
from bench.evaluation.evaluate import BATCH_IMAGES, DivergedError, accuracy
from bench.evaluation.record_keys import BEST_EPOCH, VAL_ACCURACY
from bench.training.epoch import EpochProgress, EpochRecord, device_clock
from bench.training.shared_step import build_step
from bench.training.step import build_optimizer, build_scheduler, set_dropout
from bench.training.trainer_state import (
    StateLimits,
    TrainerState,
    get_generator_states,
    require_valid_state,
    select_prefix,
    set_generator_states,
)

STEPS_BETWEEN_CHECKS = {"cpu": 1, "cuda": 50}
"""Steps between two checks for losses that are not finite, by type of device. On CUDA, a check waits for the GPU."""


class TrainingData(Protocol):
    """The data of a training: a split, or a source of new images for each epoch."""

    def __len__(self) -> int:
        """Return the number of questions of an epoch."""

    @property
    def image_count(self) -> int:
        """The number of images with questions."""

    def split_for_epoch(self, epoch: int) -> Split:
        """Return the data of an epoch, numbered from 0."""

    def close(self) -> None:
        """Stop the preparation of data."""


@dataclass(frozen=True)
class TrainingSplits:
    """The data of a training.

    Attributes:
        train: the training data.
        val: the validation data.
    """

    train: TrainingData
    val: Split


class Trainer:
    """Trains a network, and stores the weights of the epoch with the best validation accuracy.

    Args:
        recipe: how to train.
        model: on the device of `computing`.
        splits: the training and validation data.
        seed: seed of the order of the questions and of the random draws of the modules.
        computing: device and precision.
        group: the processes of the run. Each process computes its rows of every batch, and all get the same weights.

    Attributes:
        epoch: number of complete epochs.
        current_epoch: progress of the epoch that has begun; None between two epochs.
        batch: number of images of a step, or of questions if each question has an image of its own.
        steps_per_epoch: number of steps of an epoch.
        eval_batch_sizes: batch sizes to try in validation, see `bench.evaluation.batch_size`; at first the batch of a
            step, 200 at most. The caller may set others.
        implementations: names of the implementations of the diagonal LSTM that have run. The caller adds them.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        splits: TrainingSplits,
        seed: int,
        computing: ComputeConfig,
        group: SingleProcess = SINGLE_PROCESS,
    ) -> None:
        self.recipe, self.model, self.seed = recipe, model, seed
        self.train, self.val = splits.train, splits.val
        self.computing, self.group = computing, group
        self.image_sharing = image_sharing(recipe.questions)
        available = self._count_units()
        self.batch = min(recipe.batch, available)
        self.steps_per_epoch = available // self.batch
        self.eval_batch_sizes = [min(BATCH_IMAGES, self.batch)]
        set_dropout(model, recipe.dropout)
        self.optimizer = build_optimizer(recipe, model)
        self.step = build_step(
            group, model, recipe=recipe, optimizer=self.optimizer, computing=computing, batch=self.batch
        )
        self.scheduler = build_scheduler(recipe, self.optimizer, self.steps_per_epoch)
        self.epoch = 0
        self.current_epoch: EpochProgress | None = None
        # a user module may have a constant buffer with infinite values
        self._nonfinite_buffers = {name for name, value in model.named_buffers() if not value.isfinite().all()}
        self.best_epoch, self.best_accuracy = 0, -1.0
        self.best_weights: dict[str, Tensor] = {}
        self.implementations: set[str] = set()

    @property
    def batch_unit(self) -> str:
        """The unit of `batch`: images or questions."""
        return "images" if self.image_sharing else "questions"

    @property
    def steps_done(self) -> int:
        """Number of steps since the start of the training."""
        return self.epoch * self.steps_per_epoch + (self.current_epoch.steps if self.current_epoch else 0)

    def epochs(self, on_step: Callable[[], object] = lambda: None) -> Iterator[EpochRecord]:
        """Train the remaining epochs, and yield the record of each.

        Args:
            on_step: called after each step. It may call `state`.

        Raises:
            DivergedError: a loss, a gradient, a weight or a buffer is not finite.
        """
        while self.epoch < self.recipe.epochs and not self._is_patience_exhausted():
            current = self.current_epoch = self.current_epoch or self._start_epoch()
            started = time.perf_counter() - current.seconds
            self._train_epoch(current, on_step)
            with self.computing.autocast():
                val_accuracy = in_memory(self.eval_batch_sizes, self._validate)
            self.epoch += 1
            self.current_epoch = None
            if val_accuracy > self.best_accuracy:
                self.best_epoch, self.best_accuracy = self.epoch, val_accuracy
                self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            loss, correct, _, questions = current.sums.tolist()
            yield {
                "epoch": self.epoch,
                "steps": self.steps_done,
                "questions": round(questions),
                "lr": current.lr,
                "train_loss": loss / self.steps_per_epoch,
                "train_accuracy": correct / questions,
                VAL_ACCURACY: val_accuracy,
                "seconds": time.perf_counter() - started,
                "device_seconds": current.device_seconds * self.group.size,
            }

    def _count_units(self) -> int:
        """Return the number of images or questions of an epoch."""
        return self.train.image_count if self.image_sharing else len(self.train)

    def _validate(self, batch_size: int) -> float:
        return accuracy(self.model, self.val, batch_size, self.group, f"validation after epoch {self.epoch + 1}")

    def _is_patience_exhausted(self) -> bool:
        patience = self.recipe.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    @property
    def _epoch_seed(self) -> int:
        return self.seed * 1_000_003 + self.epoch + 1

    def _start_epoch(self) -> EpochProgress:
        torch.manual_seed(self._epoch_seed)
        sums = torch.zeros(4, dtype=torch.float64, device=self.computing.device)
        return EpochProgress(0, self.optimizer.param_groups[0]["lr"], 0.0, sums)

    def _train_epoch(self, current: EpochProgress, on_step: Callable[[], object]) -> None:
        """Take the remaining steps of an epoch."""
        started = time.perf_counter() - current.seconds
        clock = device_clock(self.computing.device.type)
        since = clock()
        set_generator_states(current.generator_states)
        self.model.train()
        with closing(self._batches(current.steps)) as batches:
            for batch, rows in batches:
                self._take_step(current, batch, rows)
                current.seconds = time.perf_counter() - started
                current.device_seconds += clock() - since
                on_step()
                since = clock()
        if self.computing.device.type == "cuda":  # the last steps are still in the queue
            torch.cuda.synchronize(self.computing.device)
            current.device_seconds += clock() - since
        state = self.model.state_dict()
        is_finite = all(state[name].isfinite().all() for name in state.keys() - self._nonfinite_buffers)
        if current.sums[2] or not is_finite:
            position = self._describe_position()
            raise DivergedError(f"the loss, a gradient, a weight or a buffer is not finite in {position}")

    def _take_step(self, current: EpochProgress, batch: Batch, rows: RowRange | None) -> None:
        self.step.question_rows = rows
        loss, logits, norm = self.step(batch.images, batch.query, batch.label, batch.image_index)
        correct = self.group.all_reduce((logits.argmax(-1) == batch.label).sum())
        nonfinite = ~(loss + norm).isfinite()
        # full_like fills on the device; a copy from the host would wait for it
        questions = torch.full_like(correct, rows.total if rows else self.batch)
        current.sums += torch.stack([value.double() for value in (loss, correct, nonfinite, questions)])
        current.steps += 1
        if self.recipe.schedule == "onecycle" or current.steps == self.steps_per_epoch:
            self.scheduler.step()
        if current.steps % STEPS_BETWEEN_CHECKS[self.computing.device.type] == 0 and current.sums[2]:
            position = self._describe_position()
            raise DivergedError(
                f"the loss is {float(loss)} and the norm of the gradient is {float(norm)} in {position}"
            )

    def _batches(self, first_step: int) -> Generator[tuple[Batch, RowRange | None]]:
        """Yield this process's rows of the remaining batches of the epoch.

        If questions share images, each batch comes with the rows of its questions among those of all processes.
        """
        if first_step == self.steps_per_epoch:
            return
        order = torch.randperm(self._count_units(), generator=torch.Generator().manual_seed(self._epoch_seed))
        order = order[: self.steps_per_epoch * self.batch].view(self.steps_per_epoch, self.batch)[first_step:]
        split, own = self.train.split_for_epoch(self.epoch), self.group.rows(self.batch)
        rows: Iterable[RowRange | None] = itertools.repeat(None)
        parts = list(order[:, own])
        if self.image_sharing:
            parts, rows = parts_of(
                split.image.cpu(), order, own=own, questions=self.recipe.questions, epoch=self.epoch, seed=self.seed
            )
        own_batches = split.iter_index_batches(
            parts, lambda k: self._background_brightness(first_step + k), self.image_sharing
        )
        change = Augmentation(self.recipe.augment, self.seed, self.epoch)
        with closing(own_batches) as batches:
            for batch, batch_rows in zip(batches, rows, strict=False):
                yield change(batch, split, self.image_sharing), batch_rows

    def _describe_position(self) -> str:
        step = self.steps_done - self.epoch * self.steps_per_epoch
        return f"epoch {self.epoch + 1}, step {step} of {self.steps_per_epoch}"

    def _background_brightness(self, step: int) -> float:
        """Return the brightness of the background of the digits in a step of this epoch, 0 … 1."""
        fade_steps = self.recipe.fade * self.recipe.epochs * self.steps_per_epoch
        return min(1.0, (self.epoch * self.steps_per_epoch + step) / fade_steps) if fade_steps else 1.0

    def state(self) -> tuple[dict[str, Tensor], TrainerState]:
        """Return the state of the training: tensors by name, and all other values in a form for JSON."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best_weights.items()}
        optimizer = self.optimizer.state_dict()
        for index, entries in optimizer["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in entries.items()}
        if self.current_epoch:
            tensors["under/sums"] = self.current_epoch.sums
            tensors |= {f"drawn/{k}": v for k, v in get_generator_states(self.computing).items()}
        schedule = self.scheduler.state_dict()
        values: TrainerState = {
            "epoch": self.epoch,
            "under": self.current_epoch.as_dict() if self.current_epoch else None,
            BEST_EPOCH: self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "groups": optimizer["param_groups"],
            DIAGONAL_LSTM: sorted(self.implementations),
            "schedule": {k: v for k, v in schedule.items() if isinstance(v, int | float | list)},
        }
        return tensors, values

    def restore(self, tensors: dict[str, Tensor], values: TrainerState) -> None:
        """Restore a state that `state` returned, in this process or another one.

        Raises:
            ValueError: it is not the state of such a training.
        """
        schedule_types = {key: type(value) for key, value in self.scheduler.state_dict().items()}
        buffers = frozenset(self._nonfinite_buffers)
        limits = StateLimits(self.recipe.epochs, self.steps_per_epoch, self.best_epoch, schedule_types, buffers)
        require_valid_state(tensors, values, limits)
        self.model.load_state_dict(select_prefix("model/", tensors))
        self.best_weights = {k: v.to(self.computing.device) for k, v in select_prefix("best/", tensors).items()}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in select_prefix("optimizer/", tensors).items():
            index, key = name.split("/")
            optimizer.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": optimizer, "param_groups": values["groups"]})
        self.scheduler.load_state_dict(values["schedule"])
        self.implementations |= set(values.get(DIAGONAL_LSTM, []))
        self.epoch, self.best_epoch, self.best_accuracy = values["epoch"], values[BEST_EPOCH], values["best_accuracy"]
        if current := values.get("under"):
            sums = tensors["under/sums"].to(self.computing.device)
            if len(sums) == 3:  # early versions had one question about each image, and did not count questions
                sums = torch.cat([sums, sums.new_tensor([current["steps"] * self.batch])])
            generator_states = select_prefix("drawn/", tensors)
            self.current_epoch = EpochProgress(
                current["steps"],
                current["lr"],
                current["seconds"],
                sums=sums,
                generator_states=generator_states,
                device_seconds=current.get("device_seconds", current["seconds"]),
            )
