"""A training step on several processes."""

import torch
from torch import Tensor, nn

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.distributed.process_group import ProcessGroup, SingleProcess
from bench.training.step import Step, StepResult, compute_logits, compute_loss
from mnistref.common.errors import UsageProblemError


def step_of(
    group: SingleProcess,
    model: nn.Module,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    computing: ComputeConfig,
    batch: int,
) -> Step:
    """Return the training step of this process.

    Args:
        group: the processes.
        model: on its device.
        recipe: as in `Step`.
        optimizer: as in `Step`.
        computing: as in `Step`.
        batch: number of images of the global batch.

    Raises:
        UsageProblemError: there are fewer images than processes.
    """
    if not isinstance(group, ProcessGroup):
        return Step(model, recipe, optimizer, computing)
    if batch < group.size:
        raise UsageProblemError(
            f"a batch of {batch} images for {group.size} processes; give {group.size} images or more"
        )
    return SharedStep(model, recipe, optimizer, computing, group, batch)


class SharedStep(Step):
    """A training step on several processes. Each process computes its rows of the global batch.

    The result has the loss and the norm of the gradient of the global batch, and the logits of the rows of this
    process.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        computing: ComputeConfig,
        group: ProcessGroup,
        batch: int,
    ) -> None:
        super().__init__(model, recipe, optimizer, computing)
        self.group, self.batch = group, batch

    def _issue(self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None) -> StepResult:
        """Compute loss and gradients of the global batch without an update."""
        with self.computing.autocast(), self.group.global_batch(self.batch, self.questions):
            logits = compute_logits(self.model, images, query, image_index)
        loss = compute_loss(logits, label, "sum") / (self.questions.total if self.questions else self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        global_loss = self._add_gradients(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        return StepResult(global_loss, logits.detach(), norm)

    def _add_gradients(self, loss: Tensor) -> Tensor:
        """Sum the gradients and the loss over the processes, in one exchange, and return the loss.

        A parameter without a gradient on all processes keeps none.
        """
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        dtype = loss.dtype
        for p in parameters:
            dtype = torch.promote_types(dtype, p.dtype)
        has = [p.grad is not None for p in parameters]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).to(dtype) for p in parameters]
        flags = torch.tensor(has, dtype=dtype, device=loss.device)
        summed = self.group.all_reduce(torch.cat([*parts, flags, loss.to(dtype).view(1)]))
        *sums, flags, global_loss = torch.split(summed, [*(len(part) for part in parts), len(parts), 1])
        has_anywhere = has if all(has) else flags.tolist()
        for p, total, has_gradient in zip(parameters, sums, has_anywhere, strict=True):
            if has_gradient:
                p.grad = torch.empty_like(p) if p.grad is None else p.grad
                p.grad.copy_(total.view_as(p))
        return global_loss[0].to(loss.dtype)
