"""Time of a training step and of inference, and memory: after warm-up, medians of rounds, the device waited for.

The data are random images on the device already: what is timed is the network, its loss, its gradients and its update.
Several networks are timed turn by turn, so that whatever else the machine does falls on all of them.
"""

import math
import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.common.memory import keep_freed
from bench.compute import ComputeConfig
from bench.config import TIMING_ROUNDS, Recipe
from bench.kernels.diagonal_lstm.implementation_log import noted, spelled
from bench.training.step import CapturedFunction, Step, build_optimizer
from mnistref.spec import VariantSpec

WARM_UP = 2
LEAST_SECONDS = 0.02
"""Of a round: what is faster is called several times in it."""


@dataclass(frozen=True)
class Spread:
    """What the rounds gave, in their order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper one."""
        if len(self.values) == 1:
            return self.values * 2
        low, _, high = statistics.quantiles(self.values, method="inclusive")
        return low, high

    def over(self, other: "Spread") -> "Spread":
        """The ratios to another one, round by round."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Timing:
    """`step`: milliseconds of a training step over `batch` images. `infer`: of inference, for one image.

    `diagonal_lstm`: which implementations of the diagonal LSTM ran in the step; None for none.
    `peak_memory_mb`: the most that a step that is issued holds at a time, beyond weights, optimiser and data; on a CPU
    without what operations take inside themselves. `saved_mb`: what the forward pass keeps of it for the
    gradients.
    """

    step: Spread
    infer: Spread
    peak_memory_mb: float
    saved_mb: float
    batch: int
    threads: int
    diagonal_lstm: str | None = None

    def as_dict(self) -> dict[str, float | int]:
        """The medians, as a run records them."""
        return {
            "train_step_ms": self.step.median,
            "infer_ms_per_image": self.infer.median,
            "peak_memory_mb": self.peak_memory_mb,
            "timing_batch": self.batch,
            "timing_rounds": len(self.step.values),
            "threads": self.threads,
        }


def measure(
    models: Mapping[str, nn.Module],
    recipe: Recipe,
    variant: VariantSpec,
    computing: ComputeConfig,
    rounds: int = TIMING_ROUNDS,
    questions: int | None = None,
) -> dict[str, Timing]:
    """Time networks for a variant, whose weights and statistics are left as they were.

    The batch is the recipe's, with a question about each image, or so many.

    Inference is issued or recorded as the step is.
    """
    device = computing.device
    keep_freed(device)
    data = images, query, _ = example(recipe.batch, variant, device, questions)
    steps, memory, saved = {}, {}, {}
    ran: dict[str, set[str]] = {name: set() for name in models}
    kept = {n: {k: v.detach().clone() for k, v in model.state_dict().items()} for n, model in models.items()}
    with computing.backend_flags(tuned=True):
        for name, model in models.items():
            optimizer = build_optimizer(replace(recipe, lr=1e-6), model.train())
            issued = Step(model, recipe, optimizer, replace(computing, capture="eager"))
            with noted(ran[name]):
                saved[name] = saved_memory(model, images, query, computing)
                memory[name] = _step_memory(partial(issued, *data), optimizer, device)
            steps[name] = partial(Step(model, recipe, optimizer, computing), *data)
        step_times = _rounds(steps, device, rounds)
        calls = {n: _inference(model.eval(), images, query, computing) for n, model in models.items()}
        infer_times = _rounds(calls, device, rounds)
    for name, model in models.items():
        model.load_state_dict(kept[name])
        model.zero_grad(set_to_none=True)
    threads = torch.get_num_threads()
    return {
        name: Timing(
            _scaled(step_times[name], 1e3),
            _scaled(infer_times[name], 1e3 / recipe.batch),
            memory[name],
            saved[name],
            recipe.batch,
            threads,
            spelled(ran[name]),
        )
        for name in models
    }


def example(
    batch: int, variant: VariantSpec, device: torch.device, questions: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Random images, queries and labels of a variant's sizes: the latter (B,), or (B, K) for K questions."""
    images = torch.rand(batch, 3, variant.canvas, variant.canvas, device=device)
    shape = (batch,) if questions is None else (batch, questions)
    query = torch.randint(variant.queries, shape, device=device)
    label = torch.randint(variant.classes, shape, device=device)
    return images.to(memory_format=torch.channels_last), query, label


def _inference(model: nn.Module, images: Tensor, query: Tensor, computing: ComputeConfig) -> Callable[[], object]:
    def infer(images: Tensor, query: Tensor) -> Tensor:
        with torch.inference_mode(), computing.autocast():
            return model(images, query).logits

    issued: Callable[..., Tensor] = CapturedFunction(infer) if computing.capture == "graph" else infer
    return lambda: issued(images, query)


def _scaled(spread: Spread, factor: float) -> Spread:
    return Spread(tuple(value * factor for value in spread.values))


def _rounds(works: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, Spread]:
    """Seconds of a call of each, in so many rounds in which one follows the other."""
    calls: dict[str, int] = {}
    for name, work in works.items():
        for _ in range(WARM_UP):
            seconds = _seconds(work, 1, device)
        calls[name] = min(1000, math.ceil(LEAST_SECONDS / seconds))
    found: dict[str, list[float]] = {name: [] for name in works}
    for k in range(rounds):
        for name, work in list(works.items())[:: -1 if k % 2 else 1]:
            found[name].append(_seconds(work, calls[name], device))
    return {name: Spread(tuple(values)) for name, values in found.items()}


def _seconds(work: Callable[[], object], calls: int, device: torch.device) -> float:
    """Of one call, on average over so many in a row."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        work()
    _wait(device)
    return (time.perf_counter() - started) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def saved_memory(model: nn.Module, images: Tensor, query: Tensor, computing: ComputeConfig) -> float:
    """MB that a forward pass keeps for its gradients, beyond weights and data. Tensors of one memory count once."""
    known = {_key(tensor) for tensor in (*model.parameters(), *model.buffers(), images, query)}
    kept: dict[int, torch.UntypedStorage] = {}

    def count(tensor: Tensor) -> Any:  # what it returns is kept: a node's own output would never be freed
        if _key(tensor) not in known:
            kept[_key(tensor)] = tensor.untyped_storage()

    def never(_: Any) -> Any:
        raise NotImplementedError

    with torch.autograd.graph.saved_tensors_hooks(count, never), computing.autocast():
        logits = model(images, query).logits
    del logits
    return sum(storage.nbytes() for storage in kept.values()) / 1e6


def _step_memory(step: Callable[[], object], optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    """MB that a step allocates at most, beyond what was there before it."""
    step()  # the optimiser's state is made
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with LiveTensors() as live:
        step()
    return live.peak / 1e6


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is on and not yet freed: `now`, and `peak`, their most.

    What a device's own allocator tells of CUDA, for any device; what an operation takes inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and _key(made) not in self._alive | given:
                self._count(made.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
