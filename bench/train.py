"""Training: (recipe, model, data) → a record per epoch. Touches the device and the clock, no files.

All randomness of an epoch (order, dropout) is keyed by seed and epoch, so an epoch is the same after a resume, and the
same for every mechanism.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from bench.computing import Computing
from bench.config import Recipe
from bench.data import Split
from bench.evaluate import accuracy
from bench.parallel import ALONE, Alone
from bench.step import optimizer_of

CHECKED = {"cpu": 1, "cuda": 50}
"""Steps between two looks at whether all is finite: a look makes the host wait for a GPU."""


class DivergedError(Exception):
    """The loss, the gradient or a weight is no longer a finite number."""


class Trainer:
    """Trains `model` on `train`, keeping the weights of the epoch with the best accuracy on `val`.

    Several processes may do so together, as a `team`: each trains on its rows of every batch, and all come to the same.
    `epochs()` yields a record after each epoch. `state()` and `restore()` carry everything over to another process.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        train: Split,
        val: Split,
        seed: int,
        computing: Computing,
        team: Alone = ALONE,
    ) -> None:
        self.recipe, self.model, self.train, self.val, self.seed = recipe, model, train, val, seed
        self.computing, self.team = computing, team
        self.batch = min(recipe.batch, len(train))
        self.steps = len(train) // self.batch
        self.optimizer = optimizer_of(recipe, model)
        self.step = team.step(model, recipe, self.optimizer, computing, self.batch)
        self.schedule = _schedule(recipe, self.optimizer, self.steps)
        self.epoch = 0
        self.best_epoch, self.best_accuracy = 0, -1.0
        self.best_weights: dict[str, torch.Tensor] = {}

    def epochs(self, on_step: Callable[[], object] = lambda: None) -> Iterator[dict[str, Any]]:
        """Run the epochs that are left; `on_step` is called after each step."""
        while self.epoch < self.recipe.epochs and not self._stale():
            self.epoch += 1
            started = time.perf_counter()
            lr = self.optimizer.param_groups[0]["lr"]
            loss, right = self._train_epoch(on_step)
            with self.computing.casting():
                val = accuracy(self.model, self.val, self.team)
            if val > self.best_accuracy:
                self.best_epoch, self.best_accuracy = self.epoch, val
                self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            yield {
                "epoch": self.epoch,
                "steps": self.epoch * self.steps,
                "lr": lr,
                "train_loss": loss,
                "train_accuracy": right,
                "val_accuracy": val,
                "seconds": time.perf_counter() - started,
            }

    def _stale(self) -> bool:
        patience = self.recipe.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def _train_epoch(self, on_step: Callable[[], object]) -> tuple[float, float]:
        key = self.seed * 1_000_003 + self.epoch
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(key)).to(self.computing.device)
        torch.manual_seed(key)
        self.model.train()
        loss_sum, right = torch.zeros(2, dtype=torch.float64, device=self.computing.device)
        finite = torch.ones((), dtype=torch.bool, device=self.computing.device)
        for step, at in enumerate(order[: self.steps * self.batch].split(self.batch)):
            batch = self.train.batch(at[self.team.rows(len(at))], self._background(step))
            loss, logits, norm = self.step(batch.images, batch.query, batch.label)
            if self.recipe.schedule == "onecycle":
                self.schedule.step()
            loss_sum += loss
            right += self.team.add((logits.argmax(1) == batch.label).sum())
            finite &= (loss + norm).isfinite()
            if (step + 1) % CHECKED[self.computing.device.type] == 0 and not finite:
                raise DivergedError(self._place(step, f"the loss is {float(loss)}, the gradient's norm {float(norm)}"))
            on_step()
        if not finite or not all(p.isfinite().all() for p in self.model.parameters()):
            raise DivergedError(self._place(step, "the loss, its gradient or a weight is no finite number"))
        if self.recipe.schedule == "steps":
            self.schedule.step()
        seen = self.steps * self.batch
        return float(loss_sum) / self.steps, float(right) / seen

    def _place(self, step: int, what: str) -> str:
        return f"{what} in epoch {self.epoch}, step {step + 1} of {self.steps}"

    def _background(self, step: int) -> float:
        """The brightness of what is no digit, 0 … 1."""
        fading = self.recipe.fade * self.recipe.epochs * self.steps
        done = (self.epoch - 1) * self.steps + step
        return min(1.0, done / fading) if fading else 1.0

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON values."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best_weights.items()}
        optimizer = self.optimizer.state_dict()
        for index, values in optimizer["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in values.items()}
        rest = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "groups": optimizer["param_groups"],
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if isinstance(v, int | float | list)},
        }
        return tensors, rest

    def restore(self, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.model.load_state_dict(_below("model/", tensors))
        self.best_weights = {k: v.to(self.computing.device) for k, v in _below("best/", tensors).items()}
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below("optimizer/", tensors).items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})
        self.schedule.load_state_dict(rest["schedule"])
        self.epoch, self.best_epoch, self.best_accuracy = rest["epoch"], rest["best_epoch"], rest["best_accuracy"]


def _schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """One-cycle steps after every batch; "steps" after every epoch: ÷1.5 before epoch 31, 43, 55 …"""
    if recipe.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=max(2, recipe.epochs * steps))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1.5 ** -(max(0, done - 30 + 12) // 12))


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
