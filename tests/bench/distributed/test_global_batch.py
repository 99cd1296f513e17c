"""Batch normalisation and draws of some rows equal those of the whole batch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.distributed.global_batch import RowRange, global_batch_rows

ROWS = (RowRange(0, 2, 7), RowRange(2, 7, 7))
"""The rows of a batch of seven on two processes."""


def draw_together(draw) -> list[Tensor]:
    """Return the draws of each process, whose generators have the same seed."""
    found = []
    for part, rows in enumerate(ROWS):
        torch.manual_seed(5)
        with global_batch_rows(rows, lambda x: x, 2, part):
            found.append(draw(rows.stop - rows.start))
    return found


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.rand(n, 3),
        lambda n: torch.randn(2 * n, 1, 4),
        lambda n: torch.bernoulli(torch.full((n, 5), 0.5)),
        lambda n: torch.randint(9, (n,)),
        lambda n: torch.empty(n, 3).normal_(),
        lambda n: F.dropout(torch.ones(n, 6)),
    ],
    ids=["rand", "randn of two values a row", "bernoulli", "randint", "in place", "dropout"],
)
def test_draws_per_row_are_those_of_one_process(draw):
    torch.manual_seed(5)
    whole = draw(7)
    assert torch.equal(torch.cat(draw_together(draw)), whole)


def test_draws_of_another_length_are_the_same_on_every_process():
    torch.manual_seed(5)
    whole = torch.rand(3)
    first, second = draw_together(lambda n: torch.rand(3))
    assert torch.equal(first, whole)
    assert torch.equal(second, whole)


def test_questions_have_rows_of_their_own():
    questions, images = RowRange(3, 8, 11), RowRange(2, 5, 6)
    torch.manual_seed(5)
    by_question, by_image = torch.rand(11, 2), torch.rand(6, 2)
    torch.manual_seed(5)
    with global_batch_rows(images, lambda x: x, 2, 1, questions):
        assert torch.equal(torch.rand(5, 2), by_question[3:8])
        assert torch.equal(torch.rand(3, 2), by_image[2:5])


def normalise(norm: nn.Module, x: Tensor, sums: list[Tensor] | None, rows: RowRange, part: int) -> Tensor:
    """Normalise the rows of a process. The sums over processes are `sums`, or, without them, those of this process."""
    left = iter(sums or [])

    def add(tensor: Tensor) -> Tensor:
        return tensor if sums is None else next(left)

    with global_batch_rows(rows, add, 2, part):
        return norm(x[rows.start : rows.stop])


def moments_of(x: Tensor, part: int) -> Tensor:
    """Return count, mean and variance of some rows, in the row of this process."""
    whole = x.new_zeros(2, 1 + 2 * x.shape[1])
    flat = x.transpose(0, 1).flatten(1)
    whole[part] = torch.cat([x.new_full((1,), flat.shape[1]), flat.mean(1), flat.var(1, correction=0)])
    return whole


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 5), (7, 3, 4, 5)])
def test_batch_norm_of_parts_equals_that_of_the_whole_batch(shape):
    torch.manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64) * 3 + 1
    norms = [nn.BatchNorm1d(3).double() if len(shape) < 4 else nn.BatchNorm2d(3).double() for _ in range(3)]
    total = sum(moments_of(x[rows.start : rows.stop], part) for part, rows in enumerate(ROWS))
    parts = [normalise(norms[part], x, [total], rows, part) for part, rows in enumerate(ROWS)]
    torch.testing.assert_close(torch.cat(parts), norms[2](x))
    for norm in norms[:2]:
        torch.testing.assert_close(norm.running_mean, norms[2].running_mean)
        torch.testing.assert_close(norm.running_var, norms[2].running_var)


def test_batch_norm_of_all_rows_has_the_gradients_of_pytorch():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double()
    x = torch.randn(4, 3, 5, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.randn_like(x)
    wanted = torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), slope)
    with global_batch_rows(RowRange(0, 4, 4), lambda tensor: tensor, 1, 0):
        found = torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), slope)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_batch_norm_in_evaluation_is_unchanged():
    norm = nn.BatchNorm1d(3).eval()
    x = torch.randn(7, 3)
    assert torch.equal(normalise(norm, x, None, ROWS[1], 1), norm(x[2:]))


def test_one_value_per_channel_cannot_be_normalised():
    with (
        pytest.raises(ValueError, match="more than 1 value per channel, got 1"),
        global_batch_rows(RowRange(0, 1, 1), lambda tensor: tensor, 1, 0),
    ):
        nn.BatchNorm1d(3)(torch.randn(1, 3))
