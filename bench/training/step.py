"""One step of training: loss, gradients, clipping, update; issued anew each time, or recorded and replayed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.compute import Computing
from bench.config import Recipe

WARM_UP = 3
"""Calls before a recording, in which libraries choose their algorithms and allocate."""


class Taken(NamedTuple):
    """What a step found before its update: loss, logits (…, classes), and the norm of the gradient before clipping."""

    loss: Tensor
    logits: Tensor
    norm: Tensor


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser over the model's parameters; on CUDA Adam's whole update is one launch."""
    parameters = list(model.parameters())
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, fused=True if parameters[0].is_cuda else None)
    return torch.optim.RMSprop(parameters, lr=recipe.lr, alpha=0.9, eps=1e-6)


class Step:
    """step(images, query, label, of) → what it found, after the update that it makes; the inputs are a `Batch`'s.

    Args:
        model: on its device.
        recipe: whose `clip` bounds the norm of the gradient.
        optimizer: over the model's parameters.
        computing: of its capture, "graph" records the forward pass, the gradients and the clipping as a CUDA graph in
            the first call and replays it after: batches must keep their shapes, and what is returned is overwritten by
            the next call. The update is issued each time, as its learning rate changes. For tf32 the caller turns on
            `computing.products`.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, optimizer: torch.optim.Optimizer, computing: Computing
    ) -> None:
        self.model, self.optimizer, self.computing, self.clip = model, optimizer, computing, recipe.clip
        self.questions: Any = None
        """Of several processes: which of the step's questions these are, see `shared_step.SharedStep`."""
        self._gradients: Callable[..., Sequence[Tensor]] = self._issue
        if computing.capture == "graph":
            self._gradients = Recorded(self._issue, model.buffers)

    def __call__(self, images: Tensor, query: Tensor, label: Tensor, of: Tensor | None = None) -> Taken:
        taken = Taken(*self._gradients(images, query, label, *([] if of is None else [of])))
        self.optimizer.step()
        return taken

    def _issue(self, images: Tensor, query: Tensor, label: Tensor, of: Tensor | None = None) -> Taken:
        with self.computing.casting():
            logits = answers_of(self.model, images, query, of)
        loss = loss_of(logits, label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        return Taken(loss.detach(), logits.detach(), norm)


def loss_of(logits: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """Cross entropy in single precision at least: logits (…, classes), label i8 (…) → mean or sum over questions."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(exact.flatten(0, -2), label.flatten(), reduction=reduction)


def answers_of(model: nn.Module, images: Tensor, query: Tensor, of: Tensor | None) -> Tensor:
    """The logits of a network; one that is asked one question about each image need not know `of`."""
    return model(images, query).logits if of is None else model(images, query, of).logits


class Recorded:
    """A function of CUDA tensors, recorded as a graph when it is first called and replayed from then on.

    Every call gives what `function` would: the first one, too, finds the generator and the tensors of `state`, which
    `function` changes in place, as they were before the recording. Results are overwritten by the next call.

    Args:
        function: of tensors whose shapes never change, without transfers to the host.
        state: → the tensors that it changes in place and reads again, such as running statistics.
    """

    def __init__(self, function: Callable[..., Any], state: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self._function, self._state = function, state
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        if self._graph is None:
            self._record(inputs)
            assert self._graph is not None
        for place, given in zip(self._inputs, inputs, strict=True):
            if place.shape != given.shape:
                raise ValueError(f"recorded with {tuple(place.shape)}, called with {tuple(given.shape)}")
            place.copy_(given)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: Sequence[Tensor]) -> None:
        device = inputs[0].device
        self._inputs = [given.clone() for given in inputs]
        kept = [(tensor, tensor.clone()) for tensor in self._state()]
        with torch.random.fork_rng(devices=[device]):
            aside, here = torch.cuda.Stream(device), torch.cuda.current_stream(device)
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._function(*self._inputs)
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # what a thread that brings data allocates meanwhile is no part of it
            try:
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    self._outputs = self._function(*self._inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                why = " ".join(str(error).split())[:300]
                raise RuntimeError(f"this cannot be recorded as a CUDA graph, give --capture eager: {why}") from error
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
        self._graph = graph
