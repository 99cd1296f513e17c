"""Training steps on several processes."""

import pytest
import torch
from torch import nn

from bench.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from bench.training.shared_step import SharedStep, build_step
from bench.training.step import Step
from mnistref.common.errors import UsageProblemError
from tests.bench.distributed import training_program
from tests.bench.training.helpers import ON_CPU, SHORT, network


def test_a_batch_smaller_than_the_number_of_processes_is_refused(mini):
    with pytest.raises(UsageProblemError, match="a batch of 25 images is too small for 26 processes"):
        training_program.trainer(mini, "none", False, ProcessGroup(0, 26, None))


def test_one_process_has_a_plain_step():
    model = network("none")
    optimizer = torch.optim.Adam(model.parameters())
    step = build_step(SINGLE_PROCESS, model, SHORT, optimizer, ON_CPU, batch=2)
    assert type(step) is Step
    shared = build_step(ProcessGroup(0, 2, None), model, SHORT, optimizer, ON_CPU, batch=2)
    assert isinstance(shared, SharedStep)
    assert (shared.batch, shared.group.size) == (2, 2)


class Doubled(ProcessGroup):
    """Two processes with equal rows: a sum over them is twice that of one."""

    def all_reduce(self, tensor):
        return tensor * 2


def test_gradients_and_loss_are_summed_and_unused_parameters_keep_none():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    used, unused = model
    step = SharedStep(model, SHORT, torch.optim.Adam(model.parameters()), ON_CPU, Doubled(0, 2, None), batch=2)
    used(torch.ones(1, 3)).sum().backward()
    before = [parameter.grad.clone() for parameter in used.parameters()]
    assert float(step._sum_gradients(torch.tensor(0.25))) == 0.5
    for parameter, gradient in zip(used.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)
    assert all(parameter.grad is None for parameter in unused.parameters())
