"""Compiled pooling as a differentiable function."""

import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.pool.numba_op import Pooled


def maps(*shape: int) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (3, 5, 7, 4), (2, 8, 9, 9)])
def test_pooled_maps_and_gradients_equal_plain_operators(shape):
    x = maps(*shape)
    out, wanted = Pooled.apply(x), torch.nn.functional.max_pool2d(x, 2).relu()
    assert torch.equal(out, wanted)
    assert out.is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(*(torch.autograd.grad(y, x, slope)[0] for y in (out, wanted)))


def test_number_of_threads_does_not_change_the_pooled_maps():
    x, before, found = maps(7, 4, 6, 5), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(Pooled.apply(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_only_the_chosen_pixels_are_saved():
    out = Pooled.apply(maps(2, 4, 6, 5))
    (chosen,) = out.grad_fn.saved_tensors
    assert chosen.dtype == torch.uint8
    assert chosen.shape == (2, 3, 2, 4)
