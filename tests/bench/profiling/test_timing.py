"""Time and memory of networks."""

import gc
import statistics

import pytest
import torch
from torch import nn

from bench.compute import ComputeConfig
from bench.model import create_model
from bench.profiling import timing
from bench.profiling.timing import LiveTensors, Spread, Workload, random_batch, saved_memory, time_networks
from tests.bench.training.helpers import CPU, MINI, ON_CPU, SHORT, network

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_timing_does_not_change_the_network():
    model = network("pan")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    timed = time_networks({"pan": model, "arnn": network("arnn")}, Workload(SHORT, MINI), ON_CPU, rounds=3)
    pan = timed["pan"]
    assert 0 < pan.infer.median < pan.step.median
    assert len(pan.step.values) == len(pan.infer.values) == 3
    assert (pan.batch, pan.threads) == (32, torch.get_num_threads())
    # Each of 32 images leaves at least its two largest maps, 32 × 48 × 48 floats before the pooling and the gradient.
    assert 2 * 32 * 32 * 48 * 48 * 4e-6 < pan.peak_memory_mb < 100
    assert timed["arnn"].peak_memory_mb > 2 * pan.peak_memory_mb
    assert 0 < pan.saved_mb < pan.peak_memory_mb
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_quick_functions_are_called_several_times_per_round(monkeypatch):
    """Only the timed functions advance the clock of this test."""
    calls, now = [], [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work(name: str, seconds: float) -> None:
        calls.append(name)
        now[0] += seconds

    quick, slow = timing.MIN_ROUND_SECONDS / 7.5, timing.MIN_ROUND_SECONDS * 2
    found = timing._time_alternately(
        {"quick": lambda: work("quick", quick), "slow": lambda: work("slow", slow)}, CPU, 3
    )
    warm, eight = timing.WARM_UP_CALLS, ["quick"] * 8
    assert calls == ["quick"] * warm + ["slow"] * warm + [*eight, "slow", "slow", *eight, *eight, "slow"]
    assert found["quick"].values == pytest.approx([quick] * 3)
    assert found["slow"].values == pytest.approx([slow] * 3)


def test_ratio_of_times_is_computed_round_by_round():
    slow, fast = Spread((4.0, 6.0, 10.0, 9.0)), Spread((2.0, 2.0, 5.0, 3.0))
    assert slow.ratio_to(fast).values == (2.0, 3.0, 2.0, 3.0)
    assert slow.ratio_to(fast).median == 2.5
    assert slow.median == statistics.median(slow.values) == 7.5
    assert slow.quartiles == (5.5, 9.25)
    assert Spread((3.0,)).quartiles == (3.0, 3.0)


class Square(nn.Module):
    """A network with logits (w x)²: the square saves its argument, and the product saves both factors."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, query):
        y = self.weight * images
        return create_output(y.view(len(images), -1).square())


def create_output(logits):
    from bench.model import Output

    return Output(logits, [])


def test_saved_memory_excludes_weights_and_data():
    images = torch.rand(5, 1, 10, 10)
    assert saved_memory(Square(), images, torch.zeros(5, dtype=torch.long), ON_CPU) == 5 * 100 * 4e-6


def test_counted_memory_is_freed():
    """This includes operations that save their output, such as a sigmoid."""
    images, query, _ = random_batch(2, MINI, CPU)
    with LiveTensors() as live:
        saved_memory(create_model("pan", "mini"), images, query, ON_CPU)
        gc.collect()
    assert live.peak > 0
    assert live.now == 0


def test_live_tensors_counts_the_memory_of_existing_tensors():
    there = torch.zeros(100)
    with timing.LiveTensors() as live:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        del a
        c = b.view(10, 100).add_(1)  # the same memory
        there.mul_(2)
        d = torch.zeros(500)  # 6,000
        assert (live.now, live.peak) == (6000, 8000)
        del b, c
        assert live.now == 2000
        del d
    assert (live.now, live.peak) == (0, 8000)


def test_timing_restores_the_precision_of_matrix_products():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for precision, matmul in (("fp32", "highest"), ("tf32", "high"), ("bf16", "highest")):
        with ComputeConfig(CPU, precision).backend_flags():
            assert torch.get_float32_matmul_precision() == matmul
            assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@on_cuda
def test_captured_inference_uses_new_data_and_refuses_another_shape():
    model = network("pan-ctx").cuda().eval()
    recorded = timing.CapturedFunction(torch.inference_mode()(lambda x, q: model(x, q).logits))
    for _ in range(3):
        images, query, _ = random_batch(4, MINI, torch.device("cuda"))
        torch.testing.assert_close(recorded(images, query).clone(), model(images, query).logits.detach())
    with pytest.raises(ValueError, match="captured with"):
        recorded(images[:2], query)
