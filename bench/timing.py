"""Time of a training step and of inference, and memory: after warm-up, medians of repeats, the device waited for.

The data are random images on the device already: what is timed is the network, its loss, its gradients and its update.
Several networks are timed turn by turn, so that whatever else the machine does falls on all of them.
"""

import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.config import Recipe
from bench.train import OPTIMIZERS

WARM_UP, REPEATS = 2, 7


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a step over `batch` images, and of inference per image; `peak_memory_mb`: the most that a step
    holds at a time, beyond weights, optimiser and data."""

    train_step_ms: float
    infer_ms_per_image: float
    peak_memory_mb: float
    timing_batch: int
    threads: int


def measure(
    models: Mapping[str, nn.Module],
    recipe: Recipe,
    canvas: int,
    classes: int,
    queries: int,
    device: torch.device,
    precision: str,
) -> dict[str, Timing]:
    """Time networks, whose weights and statistics are left as they were. The batch is the recipe's."""
    images = torch.rand(recipe.batch, 3, canvas, canvas, device=device).to(memory_format=torch.channels_last)
    query = torch.randint(queries, (recipe.batch,), device=device)
    label = torch.randint(classes, (recipe.batch,), device=device)
    casting = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

    def step_of(model: nn.Module) -> Callable[[], None]:
        optimizer = OPTIMIZERS[recipe.optimizer](model.parameters(), lr=1e-6)

        def step() -> None:
            with casting:
                logits = model(images, query).logits
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), label).backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()

        return step

    def inference_of(model: nn.Module) -> Callable[[], None]:
        def infer() -> None:
            with torch.inference_mode(), casting:
                model(images, query)

        return infer

    kept = {n: {k: v.detach().clone() for k, v in model.state_dict().items()} for n, model in models.items()}
    steps = {name: step_of(model.train()) for name, model in models.items()}
    step_seconds = medians(steps, device)
    memory = {name: _step_memory(step, device) for name, step in steps.items()}
    infer_seconds = medians({name: inference_of(model.eval()) for name, model in models.items()}, device)
    for name, model in models.items():
        model.load_state_dict(kept[name])
        model.zero_grad(set_to_none=True)
    threads = torch.get_num_threads()
    return {
        name: Timing(
            step_seconds[name] * 1e3, infer_seconds[name] * 1e3 / recipe.batch, memory[name], recipe.batch, threads
        )
        for name in models
    }


def medians(works: Mapping[str, Callable[[], None]], device: torch.device) -> dict[str, float]:
    """Median seconds of each, done turn by turn."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(WARM_UP + REPEATS):
        for name, work in works.items():
            _wait(device)
            started = time.perf_counter()
            work()
            _wait(device)
            if repeat >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _step_memory(step: Callable[[], None], device: torch.device) -> float:
    """MB that a step allocates at most, beyond what was there before it."""
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
