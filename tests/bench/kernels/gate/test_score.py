"""The compiled score of questions about shared features, compared with plain operators in double precision."""

import copy

import pytest
import torch
from torch import nn

from bench.attention.base import repeat_for_questions
from bench.attention.pan import QueryScore
from bench.kernels import gate
from bench.kernels.diagonal_lstm import relative_error as error
from tests.bench.kernels.gate.test_gate import INDICES, SIZES, TOLERANCE, arguments


def a_score(queries=10, hidden=8, **how):
    torch.manual_seed(1)
    return QueryScore(8, queries, hidden, **how)


def asking(index, images=4, queries=10):
    """Return one-hot queries."""
    questions = len(index) if isinstance(index, torch.Tensor) else index * images
    return torch.eye(queries)[torch.arange(questions) * 7 % queries]


def plain(score, x, query, index):
    return score.answer(repeat_for_questions(x, index), query)


def shared(score, x, query, index):
    return score.answer_shared(x, query, index)


def taken(score, x, query, index):
    """Return whether the compiled score runs."""
    calls, run = [], gate.query_score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "query_score", lambda *given: calls.append(1) or run(*given))
        out = shared(score, x, query, index)
    assert error(out, plain(score, x, query, index)) < TOLERANCE
    return bool(calls)


def outcome(way, dtype, score, x, query, index):
    """Return values, and every gradient of a random function of them."""
    own, x, query = (copy.deepcopy(score).to(dtype), x.clone().to(dtype).requires_grad_(), query.to(dtype))
    out = way(own, x, query, index)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    inputs = [x, own.embedding.linear.weight, *own.score.parameters()]
    return [out.detach(), *torch.autograd.grad((out * slope).sum(), inputs)]


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_score_equals_plain_operators(height, width, index):
    for hidden in (8, 40):
        x, query, score = arguments(index, height, width, hidden)[0], asking(index), a_score(hidden=hidden)
        assert taken(score, x, query, index)
        found = outcome(shared, torch.float32, score, x, query, index)
        exact = outcome(plain, torch.float64, score, x, query, index)
        for a, b in zip(found, exact, strict=True):
            assert error(a, b) < TOLERANCE


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_compiled_score_in_bf16_rounds_only_its_results(index):
    x, query, score = arguments(index, 9, 15, 40)[0].bfloat16(), asking(index), a_score(hidden=40)
    with torch.no_grad():  # the embeddings of one-hot queries are then exact in bf16
        score.embedding.linear.weight.copy_(score.embedding.linear.weight.bfloat16())
    exact = outcome(plain, torch.float64, score, x, query, index)
    inputs = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        calls, run = [], gate.query_score
        patch.setattr(gate, "query_score", lambda *given: calls.append(1) or run(*given))
        out = shared(score, inputs, query, index)
        assert calls
        assert out.dtype == plain(score, x, query, index).dtype == torch.bfloat16
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).bfloat16()
    parameters = [inputs, score.embedding.linear.weight, *score.score.parameters()]
    found = [out.detach(), *torch.autograd.grad((out.float() * slope.float()).sum(), parameters)]
    assert [value.dtype for value in found[1:]] == [torch.bfloat16] + [torch.float32] * 3
    for k, (a, b) in enumerate(zip(found, exact, strict=True)):
        assert error(a, b) < 6e-3, k


def test_compiled_score_has_second_derivatives():
    index, results = INDICES["in any order"], []
    for way, dtype in ((shared, torch.float32), (plain, torch.float64)):
        score = a_score().to(dtype)
        x = arguments(index, 5, 3)[0].to(dtype).requires_grad_()
        inputs = [x, score.embedding.linear.weight, *score.score.parameters()]
        out = way(score, x.pow(2) - 1, asking(index).to(dtype), index)
        first = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        results.append([*first, *second])
    for found, exact in zip(*results, strict=True):
        assert error(found, exact) < 1e-5


@pytest.mark.parametrize("inside", [True, False])
def test_compiled_score_in_bf16_has_second_derivatives(inside):
    index, score = INDICES["in any order"], a_score()
    given, results = arguments(index, 5, 3)[0].bfloat16(), []
    for way, dtype in ((shared, torch.bfloat16), (plain, torch.float64)):
        own = copy.deepcopy(score).to(torch.promote_types(dtype, torch.float32))
        x = given.to(dtype).requires_grad_()
        halved = dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            out = way(own, x, asking(index).to(own.score.weight.dtype), index)
        with torch.autocast("cpu", torch.bfloat16, enabled=halved and inside):
            (first,) = torch.autograd.grad(out.to(own.score.weight.dtype).pow(3).sum(), x, create_graph=True)
        results.append([first, *torch.autograd.grad(first.square().sum(), x)])
    for found, exact in zip(*results, strict=True):
        assert error(found, exact) < 0.05


def test_features_in_fp32_under_autocast_use_plain_operators():
    index = INDICES["ragged"]
    x, query = arguments(index, 5, 3)[0], asking(index)
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "query_score", None)
        assert shared(a_score(), x, query, index).dtype == torch.bfloat16


def test_number_of_threads_does_not_change_the_score():
    index, score, results = INDICES["ragged"], a_score(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(outcome(shared, torch.float32, score, arguments(index, 13, 7)[0], asking(index), index))
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nonfinite_features_affect_only_the_scores_of_their_image(value):
    index, score = INDICES["an image without"], a_score()
    x, query = arguments(index, 3, 3)[0], asking(index)
    x[1, 2, 1, 1] = x[2, 2, 1, 1] = value  # there is no question about image 2
    found = outcome(shared, torch.float32, score, x, query, index)
    wanted = outcome(plain, torch.float32, score, x, query, index)
    assert (found[1][2] == 0).all()
    for a, b in zip(found[:2], wanted[:2], strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)
    assert all(value.isfinite().all() for value in found[2:]) == all(value.isfinite().all() for value in wanted[2:])


class _Louder(QueryScore):
    def answer(self, prepared, query=None):
        return 2 * super().answer(prepared, query)


def test_score_on_other_devices_and_dtypes_uses_plain_operators():
    index = INDICES["ragged"]
    x, query = arguments(index, 5, 3)[0], asking(index)
    assert taken(a_score(), x, query, index)
    has_hooks, louder, wrapped = a_score(), _Louder(8, 10, 8), a_score()
    has_hooks.score.register_forward_hook(lambda *_: None)
    wrapped.score = nn.Sequential(wrapped.score)
    assert not any(taken(score, x, query, index) for score in (has_hooks, louder, wrapped))
    assert not taken(a_score().double(), x.double(), query.double(), index)
    assert not taken(a_score(), x.contiguous(), query, index)
    assert not taken(a_score(hidden=7), x[:, :7], query, index)
    assert not taken(a_score(queries=0), x, torch.zeros(len(index), 0), index)
    with torch.device("cpu"):  # a mode
        assert not taken(a_score(), x, query, index)
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        shared(a_score(), x, query, index + 1)
