"""Batch sizes of validation and test."""

import pytest
import torch

from bench.data.loading import load_split
from bench.evaluation.batch_size import draws, in_memory, sizes
from bench.evaluation.evaluate import accuracy
from bench.evaluation.evaluate import test as measure
from bench.model import create_model

CPU = torch.device("cpu")
LAST = "none,none,none,arnn"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("cpu", 32, 100, 32, None), [32]),
        (("cpu", 500, 100, 32, 10**12), [200]),
        (("cuda", 50, 100, 32, 80 * 10**9), [1000, 500, 250, 50]),
        (("cuda", 50, 224, 32, 80 * 10**9), [500, 250, 50]),
        (("cuda", 50, 100, 1024, 80 * 10**9), [50]),
        (("cuda", 50, 100, 32, 3 * 10**9), [50]),
        (("cuda", 500, 100, 32, 80 * 10**9), [1000, 500, 250, 200]),
        (("cuda", 50, 100, 1024, None), [50]),  # 32 bits count no more than 209
        (("cuda", 50, 100, 32, 80 * 10**9, True), [50]),
    ],
)
def test_batch_sizes_of_evaluation_fit_into_memory(given, expected):
    assert sizes(*given) == expected


def test_batch_size_that_does_not_fit_is_not_tried_again():
    tried, left = [], [1000, 500, 50]

    def work(size):
        tried.append(size)
        if size > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size

    assert [in_memory(left, work), in_memory(left, work)] == [50, 50]
    assert (tried, left) == ([1000, 500, 50, 50], [50])
    with pytest.raises(MemoryError):
        in_memory(left, lambda size: (_ for _ in ()).throw(MemoryError))
    several = [2, 1]
    with pytest.raises(ZeroDivisionError):
        in_memory(several, lambda size: 1 // 0)
    assert several == [2, 1]


@pytest.mark.parametrize("attn", ["pan", LAST])
def test_answers_do_not_depend_on_the_batch_size(attn, mini):
    torch.manual_seed(0)
    model = create_model(attn, "mini").to(memory_format=torch.channels_last)
    split = load_split(mini, "test", "one", CPU, masks=True)
    few, many = measure(model, split, 7), measure(model, split, 1000)
    assert torch.equal(few.answers["answer"], many.answers["answer"])
    for name, value in few.measures.items():
        if isinstance(value, float):
            assert many.measures[name] == pytest.approx(value, rel=1e-5), name
    assert accuracy(model, split, 7) == accuracy(model, split, 1000)


def test_sampled_networks_are_recognised():
    assert [draws(create_model(name, "mini")) for name in ("arnn-sampled", "arnn", "pan")] == [True, False, False]
