"""A training step on several processes."""

import torch
from torch import Tensor, nn

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.distributed.process_group import ProcessGroup, SingleProcess
from bench.training.step import Step, StepResult, compute_logits, compute_loss
from mnistref.common.errors import UsageProblemError


def build_step(
    group: SingleProcess,
    model: nn.Module,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    computing: ComputeConfig,
    batch: int,
) -> Step:
    """Return the training step of this process.

    Args:
        group: the processes of the run.
        model: on its device.
        recipe: see `Step`.
        optimizer: see `Step`.
        computing: see `Step`.
        batch: number of images of the global batch.

    Raises:
        UsageProblemError: there are fewer images than processes.
    """
    if not isinstance(group, ProcessGroup):
        return Step(model, recipe, optimizer, computing)
    if batch < group.size:
        raise UsageProblemError(
            f"a batch of {batch} images is too small for {group.size} processes; use --batch {group.size} or more"
        )
    return SharedStep(model=model, recipe=recipe, optimizer=optimizer, computing=computing, group=group, batch=batch)


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

    def _forward_backward(
        self, images: Tensor, query: Tensor, label: Tensor, image_index: Tensor | None = None
    ) -> StepResult:
        """Compute loss and gradients of the global batch, without an update."""
        with self.computing.autocast(), self.group.global_batch(self.batch, self.question_rows):
            logits = compute_logits(self.model, images, query, image_index)
        loss = compute_loss(logits, label, "sum") / (self.question_rows.total if self.question_rows else self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        global_loss = self._sum_gradients(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        return StepResult(global_loss, logits.detach(), norm)

    def _sum_gradients(self, loss: Tensor) -> Tensor:
        """Sum the gradients and the loss over the processes by one all-reduce, and return the loss.

        If a parameter has no gradient on any process, its gradient remains None.
        """
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        dtype = loss.dtype
        for p in parameters:
            dtype = torch.promote_types(dtype, p.dtype)
        has_own = [p.grad is not None for p in parameters]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).to(dtype) for p in parameters]
        flags = torch.tensor(has_own, dtype=dtype, device=loss.device)
        summed = self.group.all_reduce(torch.cat([*parts, flags, loss.to(dtype).view(1)]))
        *sums, flags, global_loss = torch.split(summed, [*(len(part) for part in parts), len(parts), 1])
        has_gradients = has_own if all(has_own) else flags.tolist()
        for p, total, has_gradient in zip(parameters, sums, has_gradients, strict=True):
            if has_gradient:
                p.grad = torch.empty_like(p) if p.grad is None else p.grad
                p.grad.copy_(total.view_as(p))
        return global_loss[0].to(loss.dtype)
