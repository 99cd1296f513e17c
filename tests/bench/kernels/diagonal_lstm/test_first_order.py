"""Gradients that can be computed once, and the error where they are differentiated again."""

import pytest
import torch

from bench.kernels.diagonal_lstm.first_order import mark_differentiable_once


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, grad):
        with torch.no_grad():
            found = 2 * ctx.saved_tensors[0] * grad
        return mark_differentiable_once((found,))[0]


def test_first_gradients_are_unchanged():
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    (found,) = torch.autograd.grad(Square.apply(x).sum(), x)
    assert found.tolist() == [2.0, -6.0]
    assert not found.requires_grad


def test_gradients_of_gradients_raise_and_name_the_alternative():
    x = torch.tensor([1.0, -3.0], requires_grad=True)
    (found,) = torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
    assert found.tolist() == [2.0, -6.0]
    with pytest.raises(NotImplementedError, match="gradients of gradients give implementation='reference'"):
        found.sum().backward()


def test_without_gradients_nothing_is_marked():
    gradients = torch.ones(2), torch.zeros(3)
    with torch.no_grad():
        assert mark_differentiable_once(gradients) is gradients
