"""One training step: loss, gradients, clipping, update. On CUDA it can be captured as a graph and replayed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.distributed.global_batch import Rows

WARM_UP = 3
"""Number of calls before a capture, in which libraries choose their algorithms and allocate memory."""


class StepResult(NamedTuple):
    """The results of a step, before its update.

    Attributes:
        loss: ().
        logits: (…, classes).
        norm: (), the norm of the gradient before clipping.
    """

    loss: Tensor
    logits: Tensor
    norm: Tensor


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of the recipe over the parameters of the model.

    On CUDA, the update of Adam is one kernel launch.
    """
    parameters = list(model.parameters())
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, fused=True if parameters[0].is_cuda else None)
    return torch.optim.RMSprop(parameters, lr=recipe.lr, alpha=0.9, eps=1e-6)


class Step:
    """A training step. Call it as `step(images, query, label, of)` with the tensors of a `Batch`.

    Args:
        model: on its device.
        recipe: its `clip` bounds the norm of the gradient.
        optimizer: over the model's parameters.
        computing: if its capture is "graph", the first call captures the forward pass, the gradients and the clipping
            as a CUDA graph, and later calls replay it. Batches must then have constant shapes, and each call overwrites
            the previous result. The update is not captured, because its learning rate changes. For tf32, the caller has
            to enter `computing.backend_flags`.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, optimizer: torch.optim.Optimizer, computing: ComputeConfig
    ) -> None:
        self.model, self.optimizer, self.computing, self.clip = model, optimizer, computing, recipe.clip
        self.questions: Rows | None = None
        """The rows of this process's questions in the global batch, see `shared_step.SharedStep`."""
        self._gradients: Callable[..., Sequence[Tensor]] = self._issue
        if computing.capture == "graph":
            self._gradients = Recorded(self._issue, model.buffers)

    def __call__(self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None) -> StepResult:
        """Compute loss and gradients, and update the weights."""
        taken = StepResult(*self._gradients(images, query, label, *([] if image_index is None else [image_index])))
        self.optimizer.step()
        return taken

    def _issue(self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None) -> StepResult:
        """Compute loss and gradients without an update."""
        with self.computing.autocast():
            logits = compute_logits(self.model, images, query, image_index)
        loss = compute_loss(logits, label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        return StepResult(loss.detach(), logits.detach(), norm)


def compute_loss(logits: Tensor, label: Tensor, reduction: str = "mean") -> Tensor:
    """Return the cross entropy, computed in single precision at least.

    Args:
        logits: (…, classes).
        label: i8 (…).
        reduction: "mean" or "sum" over the questions.
    """
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(exact.flatten(0, -2), label.flatten(), reduction=reduction)


def compute_logits(model: nn.Module, images: Tensor, query: Tensor, image_index: Tensor | None) -> Tensor:
    """Return the logits of a network.

    `image_index` is omitted if it is None, so that simple networks need not accept it.
    """
    out = model(images, query) if image_index is None else model(images, query, image_index)
    logits: Tensor = out.logits
    return logits


class Recorded:
    """A function of CUDA tensors that is captured as a CUDA graph in the first call, and replayed in later calls.

    Each call gives the result of `function`. The capture restores the random generator and the tensors of `state` that
    `function` changes in place. Each call overwrites the previous result.

    Args:
        function: takes tensors of constant shapes, and transfers nothing to the host.
        state: returns the tensors that the function changes in place and reads again, such as running statistics.
    """

    def __init__(self, function: Callable[..., Any], state: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self._function, self._state = function, state
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the result of the function for these inputs.

        Raises:
            ValueError: an input has another shape than in the first call.
        """
        if self._graph is None:
            self._record(inputs)
            assert self._graph is not None
        for static, given in zip(self._inputs, inputs, strict=True):
            if static.shape != given.shape:
                raise ValueError(f"captured with {tuple(static.shape)}, called with {tuple(given.shape)}")
            static.copy_(given)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: Sequence[Tensor]) -> None:
        """Capture the function as a graph."""
        device = inputs[0].device
        self._inputs = [given.clone() for given in inputs]
        saved = [(tensor, tensor.clone()) for tensor in self._state()]
        with torch.random.fork_rng(devices=[device]):
            warm_up, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
            warm_up.wait_stream(current)
            with torch.cuda.stream(warm_up):
                for _ in range(WARM_UP):
                    self._function(*self._inputs)
            current.wait_stream(warm_up)
            graph = torch.cuda.CUDAGraph()
            # thread_local: allocations of a thread that prefetches data do not belong to the capture
            try:
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    self._outputs = self._function(*self._inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                why = " ".join(str(error).split())[:300]
                raise RuntimeError(f"this cannot be recorded as a CUDA graph, give --capture eager: {why}") from error
        with torch.no_grad():
            for tensor, value in saved:
                tensor.copy_(value)
        self._graph = graph
