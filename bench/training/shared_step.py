"""A training step that several processes take together."""

import torch
from torch import Tensor, nn

from bench.compute import Computing
from bench.config import Recipe
from bench.distributed.process_group import Alone, Team
from bench.training.step import Step, Taken, answers_of, loss_of
from mnistref.common.errors import UsageProblemError


def step_of(
    team: Alone,
    model: nn.Module,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    computing: Computing,
    batch: int,
) -> Step:
    """Return the step of this process for batches of `batch` images.

    Raises:
        UsageProblemError: there are fewer images than processes.
    """
    if not isinstance(team, Team):
        return Step(model, recipe, optimizer, computing)
    if batch < team.size:
        raise UsageProblemError(f"a batch of {batch} for {team.size} processes; give each of them an image")
    return SharedStep(model, recipe, optimizer, computing, team, batch)


class SharedStep(Step):
    """A step that several processes take together, each on its rows of a batch of `batch`.

    What it finds is the loss and the gradient's norm of the whole batch, and the logits of its rows.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        optimizer: torch.optim.Optimizer,
        computing: Computing,
        team: Team,
        batch: int,
    ) -> None:
        super().__init__(model, recipe, optimizer, computing)
        self.team, self.batch = team, batch

    def _issue(self, images: Tensor, query: Tensor, label: Tensor, of: Tensor | None = None) -> Taken:
        with self.computing.casting(), self.team.share(self.batch, self.questions):
            logits = answers_of(self.model, images, query, of)
        loss = loss_of(logits, label, "sum") / (self.questions.total if self.questions else self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        whole = self._add_gradients(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        return Taken(whole, logits.detach(), norm)

    def _add_gradients(self, loss: Tensor) -> Tensor:
        """Sum the gradients and the loss over the processes, in one exchange. → the loss

        A parameter that no process has a gradient for keeps none.
        """
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        kind = loss.dtype
        for p in parameters:
            kind = torch.promote_types(kind, p.dtype)
        has = [p.grad is not None for p in parameters]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).to(kind) for p in parameters]
        flags = torch.tensor(has, dtype=kind, device=loss.device)
        summed = self.team.add(torch.cat([*parts, flags, loss.to(kind).view(1)]))
        *sums, flags, whole = summed.split([*(len(part) for part in parts), len(parts), 1])
        anywhere = has if all(has) else flags.tolist()
        for p, total, some in zip(parameters, sums, anywhere, strict=True):
            if some:
                p.grad = torch.empty_like(p) if p.grad is None else p.grad
                p.grad.copy_(total.view_as(p))
        return whole[0].to(loss.dtype)
