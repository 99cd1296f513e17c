"""Training steps."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.attention import MECHANISMS
from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.model import create_model
from bench.profiling.timing import random_batch
from bench.recipes import OPTIMIZERS
from bench.training.step import Step, build_optimizer, require_same_storage, set_dropout
from tests.bench.training.helpers import CPU, MINI, ON_CPU, SHORT, network

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_training_step_equals_a_plain_implementation():
    """A step computes the loss before the update, clips the gradients, and updates with Adam."""
    images, query, label = random_batch(8, MINI, CPU)
    model, other = network("pan"), network("pan")
    recipe = replace(SHORT, clip=0.1)
    torch.manual_seed(3)
    loss, logits, before = Step(model, recipe, build_optimizer(recipe, model), ON_CPU)(images, query, label)
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(other.parameters(), lr=recipe.lr)
    expected = nn.functional.cross_entropy(other(images, query).logits, label)
    expected.backward()
    norm = torch.stack([p.grad.norm() for p in other.parameters()]).norm()
    assert norm > 0.1
    torch.testing.assert_close(before, norm)
    for p in other.parameters():
        p.grad *= 0.1 / norm
    optimizer.step()
    torch.testing.assert_close(loss, expected.detach())
    assert not loss.requires_grad
    assert logits.shape == (8, 5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_dropout_of_a_recipe_replaces_that_of_all_layers():
    model = create_model("none", classes=3, queries=0, size=(16, 16), network="vgg", width=4)
    before = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    assert set(before) == {0.3, 0.4, 0.5}
    set_dropout(model, None)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == before
    set_dropout(model, 0.0)
    images = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(model.train()(images).logits, model(images).logits)


@on_cuda
@pytest.mark.parametrize("attn", MECHANISMS)
def test_captured_step_trains_like_an_eager_step(attn, monkeypatch):
    """Losses, statistics and random draws are equal over several steps. Rounding errors grow with each step."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    device, recipe = torch.device("cuda"), RECIPES["fast"]
    results = []
    for capture in ("eager", "graph"):
        model = network(attn).to(device, memory_format=torch.channels_last).train()
        step = Step(model, recipe, build_optimizer(recipe, model), ComputeConfig(device, capture=capture))
        torch.manual_seed(1)
        batches = [random_batch(16, MINI, device) for _ in range(4)]
        torch.manual_seed(2)
        first = step(*batches[0])
        gradients = [p.grad.clone() for p in model.parameters()]
        losses = [first.loss.clone(), *(step(*batch).loss.clone() for batch in batches[1:])]
        results.append((first.norm.clone(), gradients, torch.stack(losses), list(model.buffers())))
    (norm, gradients, losses, statistics), (norm2, gradients2, losses2, statistics2) = results
    torch.testing.assert_close(norm2, norm, rtol=1e-3, atol=0)
    for a, b in zip(gradients2, gradients, strict=True):
        assert (a - b).norm() < 1e-3 * norm
    torch.testing.assert_close(losses2, losses, rtol=1e-2, atol=0)
    torch.testing.assert_close(statistics2, statistics, rtol=1e-2, atol=1e-2)


def test_every_optimiser_of_the_recipes_is_built_and_no_other():
    model = nn.Linear(2, 2)
    kinds = {name: build_optimizer(replace(RECIPES["fast"], optimizer=name), model) for name in OPTIMIZERS}
    assert len({type(optimizer) for optimizer in kinds.values()}) == len(OPTIMIZERS)
    with pytest.raises(ValueError, match="no optimiser 'lion'"):
        build_optimizer(replace(RECIPES["fast"], optimizer="lion"), model)


def test_a_state_that_is_replaced_cannot_be_recorded():
    mean, other = torch.zeros(2), torch.zeros(2)
    before = [mean]
    mean.add_(1)
    require_same_storage(before, [mean])
    with pytest.raises(
        RuntimeError, match=r"cannot be recorded as a CUDA graph; use --capture eager .*replaces a buffer"
    ):
        require_same_storage(before, [other])
