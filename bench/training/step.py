"""One training step: loss, gradients, clipping, update. On CUDA it can be captured as a graph and replayed."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.distributed.global_batch import RowRange

Output = TypeVar("Output")

WARM_UP_CALLS = 3
"""Number of calls before a capture. In them, libraries choose their algorithms and allocate memory."""


class StepResult(NamedTuple):
    """The results of a step, computed before its update.

    Attributes:
        loss: (), the mean over the questions.
        logits: (…, classes).
        norm: (), the L2 norm of the gradient before clipping.
    """

    loss: Tensor
    logits: Tensor
    norm: Tensor


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of the recipe for the parameters of the model.

    Raises:
        ValueError: there is no such optimiser.
    """
    parameters = list(model.parameters())
    if recipe.optimizer == "adam":
        # on CUDA, the fused update is one kernel launch
        return torch.optim.Adam(parameters, lr=recipe.lr, fused=True if parameters[0].is_cuda else None)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=recipe.lr, alpha=0.9, eps=1e-6)
    raise ValueError(f"no optimiser {recipe.optimizer!r}; `build_optimizer` does not know it")


def build_scheduler(
    recipe: Recipe, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning-rate scheduler of the recipe.

    The caller steps "onecycle" after every batch, and the others after every epoch. "steps" divides the learning rate
    by 1.5 before epoch 31, 43, 55 … "milestones" multiplies it by a factor after each of the recipe's epochs.
    """
    if recipe.schedule == "onecycle":
        total = max(2, recipe.epochs * steps_per_epoch)
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=total)
    if recipe.schedule == "milestones":
        return torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epochs_done: recipe.factor ** sum(epochs_done >= m for m in recipe.milestones)
        )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epochs_done: 1.5 ** -(max(0, epochs_done - 18) // 12))


DROPOUT_LAYERS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def set_dropout(model: nn.Module, probability: float | None) -> None:
    """Set the probability of all dropout layers of a network, also of those in user modules. None changes nothing."""
    if probability is not None:
        for module in model.modules():
            if isinstance(module, DROPOUT_LAYERS):
                module.p = probability


class Step:
    """A training step. Call it as `step(images, query, label, image_index)` with the tensors of a `Batch`.

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
        self.model, self.optimizer, self.computing = model, optimizer, computing
        self.clip = math.inf if recipe.clip is None else recipe.clip
        self.question_rows: RowRange | None = None
        """Rows of this process's questions among those of the global batch, see `shared_step.SharedStep`."""
        self._compute_gradients: Callable[..., Sequence[Tensor]] = self._forward_backward
        if computing.capture == "graph":
            self._compute_gradients = CapturedFunction(self._forward_backward, model.buffers)

    def __call__(self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None) -> StepResult:
        """Compute loss and gradients, and update the weights."""
        result = StepResult(
            *self._compute_gradients(images, query, label, *([] if image_index is None else [image_index]))
        )
        self.optimizer.step()
        return result

    def _forward_backward(
        self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None
    ) -> StepResult:
        """Compute loss and gradients of a batch, without an update."""
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
    precise_logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(precise_logits.flatten(0, -2), label.flatten(), reduction=reduction)


def compute_logits(model: nn.Module, images: Tensor, query: Tensor, image_index: Tensor | None) -> Tensor:
    """Return the logits of a network.

    If `image_index` is None, it is not passed, so that simple networks need not accept it.
    """
    out = model(images, query) if image_index is None else model(images, query, image_index)
    logits: Tensor = out.logits
    return logits


def require_same_storage(before: Iterable[Tensor], after: Iterable[Tensor]) -> None:
    """Raise RuntimeError unless the state of a function is in the same memory after a call as before.

    A CUDA graph reads and writes the memory of its capture. It would not see a buffer that a module assigns anew.
    """
    if [tensor.data_ptr() for tensor in before] != [tensor.data_ptr() for tensor in after]:
        raise RuntimeError(
            "the step cannot be recorded as a CUDA graph; use --capture eager (a module replaces a buffer, such as "
            "self.mean = …; self.mean.copy_(…) changes it in place)"
        )


class CapturedFunction(Generic[Output]):
    """A function of CUDA tensors. Its first call is captured as a CUDA graph; later calls replay the graph.

    Each call returns the result of `function`, and overwrites the previous result. The capture restores the random
    generator and the tensors of `state`, which `function` changes in place.

    Args:
        function: takes tensors of constant shapes, and transfers nothing to the host.
        state: returns the tensors that the function changes in place and reads again, such as running statistics.
    """

    def __init__(self, function: Callable[..., Output], state: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self._function, self._state = function, state
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Output:
        """Return the result of the function for these inputs.

        Raises:
            ValueError: an input has another shape than in the first call.
        """
        if self._graph is None:
            self._capture(inputs)
            assert self._graph is not None
        for static, value in zip(self._inputs, inputs, strict=True):
            if static.shape != value.shape:
                raise ValueError(
                    f"an input has shape {tuple(value.shape)}; the graph was captured with {tuple(static.shape)}"
                )
            static.copy_(value)
        self._graph.replay()
        return self._outputs

    def _capture(self, inputs: Sequence[Tensor]) -> None:
        """Capture the function as a graph."""
        device = inputs[0].device
        self._inputs = [value.clone() for value in inputs]
        saved = [(tensor, tensor.clone()) for tensor in self._state()]
        with torch.random.fork_rng(devices=[device]):
            warm_up, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
            warm_up.wait_stream(current)
            with torch.cuda.stream(warm_up):
                for _ in range(WARM_UP_CALLS):
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
                raise RuntimeError(
                    f"the step cannot be recorded as a CUDA graph; use --capture eager ({why})"
                ) from error
        require_same_storage([tensor for tensor, _ in saved], self._state())
        with torch.no_grad():
            for tensor, value in saved:
                tensor.copy_(value)
        self._graph = graph
