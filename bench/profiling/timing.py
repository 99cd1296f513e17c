"""Time of training steps and inference, and memory: medians over rounds, after warm-up.

The data are random images that are already on the device. The time of a step includes the network, its loss, the
gradients and the update. Networks are timed alternately, so that other load on the machine affects all of them.
"""

import math
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.common.memory import keep_freed
from bench.compute import ComputeConfig
from bench.config import TIMING_ROUNDS, Recipe
from bench.evaluation.columns import INFER_MS, PEAK_MEMORY_MB, TRAIN_STEP_MS
from bench.kernels.diagonal_lstm.implementation_log import join_names, record_implementations
from bench.training.step import CapturedFunction, Step, build_optimizer
from mnistref.spec import VariantSpec

WARM_UP_CALLS = 2
MIN_ROUND_SECONDS = 0.02
"""Minimal duration of a round. Faster functions are called several times in a round."""
MAX_CALLS_PER_ROUND = 1000


@dataclass(frozen=True)
class Spread:
    """The values of one quantity in all rounds, in order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper quartile over the rounds."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, method="inclusive")
        return low, high

    def ratio_to(self, other: "Spread") -> "Spread":
        """Return the ratios to another quantity, round by round."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def scaled(self, factor: float) -> "Spread":
        """Return the values multiplied by a factor."""
        return Spread(tuple(value * factor for value in self.values))


@dataclass(frozen=True)
class Timing:
    """Time and memory of a network.

    Attributes:
        step: milliseconds of a training step over `batch` images.
        infer: milliseconds of inference per image.
        peak_memory_mb: maximal memory of an eager training step, beyond weights, optimizer state and data. On a CPU,
            memory that operations allocate internally is not included.
        saved_mb: memory that the forward pass saves for the gradients.
        batch: images per step.
        threads: number of threads of PyTorch.
        diagonal_lstm: implementations of the diagonal LSTM that ran in the step; None if none did.
    """

    step: Spread
    infer: Spread
    peak_memory_mb: float
    saved_mb: float
    batch: int
    threads: int
    diagonal_lstm: str | None = None

    def as_dict(self) -> dict[str, float | int]:
        """Return the entries of result.json: medians, and how they were measured."""
        return {
            TRAIN_STEP_MS: self.step.median,
            INFER_MS: self.infer.median,
            PEAK_MEMORY_MB: self.peak_memory_mb,
            "timing_batch": self.batch,
            "timing_rounds": len(self.step.values),
            "threads": self.threads,
        }


@dataclass(frozen=True)
class Workload:
    """What is timed: a training step, and inference, with random images.

    Attributes:
        recipe: gives the optimizer and the number of images per step.
        variant: gives the sizes of images, queries and labels.
        questions: questions per image in training and inference; None for one, with queries of shape (B,).
    """

    recipe: Recipe
    variant: VariantSpec
    questions: int | None = None


def time_networks(
    models: Mapping[str, nn.Module],
    workload: Workload,
    computing: ComputeConfig,
    rounds: int = TIMING_ROUNDS,
    on_round: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Return time and memory of networks. Their weights and statistics are restored.

    Args:
        models: the networks, by name.
        workload: what is timed.
        computing: device, precision and capture. Inference is captured if the step is.
        rounds: number of rounds.
        on_round: called after each round of training steps and of inference, so 2 × `rounds` times.
    """
    device, recipe = computing.device, workload.recipe
    keep_freed(device)
    data = images, query, _ = random_batch(recipe.batch, workload.variant, device, workload.questions)
    steps, memory, saved = {}, {}, {}
    ran: dict[str, set[str]] = {name: set() for name in models}
    states = {n: {k: v.detach().clone() for k, v in model.state_dict().items()} for n, model in models.items()}
    with computing.backend_flags(tuned=True):
        for name, model in models.items():
            optimizer = build_optimizer(replace(recipe, lr=1e-6), model.train())
            eager_step = Step(model, recipe, optimizer, replace(computing, capture="eager"))
            with record_implementations(ran[name]):
                saved[name] = saved_memory(model, images, query, computing)
                memory[name] = _step_memory(partial(eager_step, *data), optimizer, device)
            steps[name] = partial(Step(model, recipe, optimizer, computing), *data)
        step_times = _time_alternately(steps, device, rounds, on_round)
        inferences = {n: _inference(model.eval(), images, query, computing) for n, model in models.items()}
        infer_times = _time_alternately(inferences, device, rounds, on_round)
    for name, model in models.items():
        model.load_state_dict(states[name])
        model.zero_grad(set_to_none=True)
    threads = torch.get_num_threads()
    return {
        name: Timing(
            step=step_times[name].scaled(1e3),
            infer=infer_times[name].scaled(1e3 / recipe.batch),
            peak_memory_mb=memory[name],
            saved_mb=saved[name],
            batch=recipe.batch,
            threads=threads,
            diagonal_lstm=join_names(ran[name]),
        )
        for name in models
    }


def random_batch(
    batch: int, variant: VariantSpec, device: torch.device, questions: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return random images (B, 3, H, W), and queries and labels (B,), or (B, K) for K `questions` per image."""
    images = torch.rand(batch, 3, variant.canvas, variant.canvas, device=device)
    shape = (batch,) if questions is None else (batch, questions)
    query = torch.randint(max(1, variant.queries), shape, device=device)
    label = torch.randint(variant.classes, shape, device=device)
    return images.to(memory_format=torch.channels_last), query, label


def _inference(model: nn.Module, images: Tensor, query: Tensor, computing: ComputeConfig) -> Callable[[], object]:
    """Return a function that computes the logits, captured in a CUDA graph if `computing` says so."""

    def infer(images: Tensor, query: Tensor) -> Tensor:
        with torch.inference_mode(), computing.autocast():
            logits: Tensor = model(images, query).logits
        return logits

    function: Callable[[Tensor, Tensor], object] = CapturedFunction(infer) if computing.capture == "graph" else infer
    return lambda: function(images, query)


def _time_alternately(
    functions: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
    on_round: Callable[[], object] = lambda: None,
) -> dict[str, Spread]:
    """Return the seconds per call of each function. Each round calls all functions; every second one in reverse."""
    calls: dict[str, int] = {}
    for name, function in functions.items():
        for _ in range(WARM_UP_CALLS):
            seconds = _seconds_per_call(function, 1, device)
        calls[name] = min(MAX_CALLS_PER_ROUND, math.ceil(MIN_ROUND_SECONDS / seconds))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for k in range(rounds):
        for name, function in list(functions.items())[:: -1 if k % 2 else 1]:
            times[name].append(_seconds_per_call(function, calls[name], device))
        on_round()
    return {name: Spread(tuple(values)) for name, values in times.items()}


def _seconds_per_call(function: Callable[[], object], calls: int, device: torch.device) -> float:
    """Return the mean duration of a call, over several consecutive calls."""
    _synchronize(device)
    started = time.perf_counter()
    for _ in range(calls):
        function()
    _synchronize(device)
    return (time.perf_counter() - started) / calls


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def saved_memory(model: nn.Module, images: Tensor, query: Tensor, computing: ComputeConfig) -> float:
    """Return the MB that a forward pass saves for the gradients, beyond weights and data.

    Tensors that share a storage count once.
    """
    known = {_storage_key(tensor) for tensor in (*model.parameters(), *model.buffers(), images, query)}
    saved: dict[int, torch.UntypedStorage] = {}

    def count(tensor: Tensor) -> None:  # autograd stores what a hook returns: a returned output would never be freed
        if _storage_key(tensor) not in known:
            saved[_storage_key(tensor)] = tensor.untyped_storage()

    def never(_: object) -> Tensor:
        raise NotImplementedError

    with torch.autograd.graph.saved_tensors_hooks(count, never), computing.autocast():
        logits = model(images, query).logits
    del logits
    return sum(storage.nbytes() for storage in saved.values()) / 1e6


def _step_memory(step: Callable[[], object], optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    """Return the maximal MB that a step allocates."""
    step()  # creates the state of the optimizer
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before: int = torch.cuda.memory_allocated(device)
        step()
        peak: int = torch.cuda.max_memory_allocated(device)
        return (peak - before) / 1e6
    live = LiveTensors()
    with live:
        step()
    return live.peak / 1e6


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that are created inside this context and not yet freed, on any device.

    Memory that operations allocate internally is not counted.

    Attributes:
        now: bytes at present.
        peak: maximum of `now`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]  # not annotated; --strict only
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Execute an operation, and count the storages of its new outputs."""
        inputs = {_storage_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for output in tree_leaves(result):
            if isinstance(output, torch.Tensor) and _storage_key(output) not in self._alive | inputs:
                self._count(output.untyped_storage())
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


def _storage_key(tensor: torch.Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key
