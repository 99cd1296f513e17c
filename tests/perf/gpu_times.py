"""Measure times and memory on CUDA: parts of `tests.perf.gpu_session`.

    python -m tests.perf.gpu_times {layers, products, reference, warps, weights, steps BATCH …} [--variant mref]
        [--precision bf16]

BATCH is a number of images, such as 128, or images × questions per image, such as 32x5.

Times are medians in milliseconds: of CUDA graph replays, or, for the reference loop, of calls. The four layers are
those of a network for images of 100 px, with 32 channels and units, on 128 images.
"""

import argparse
import gc
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.kernels import diagonal_lstm as package
from bench.kernels.diagonal_lstm import triton_op
from bench.model import build
from bench.profiling.timing import Workload, time_networks
from mnistref.variants import get_variant
from tests.perf import guard, trainer_steps
from tests.perf.gpu_checks import tell

MAPS = 50, 25, 12, 6
BATCH = 128
NETWORKS = "san", "pan-ctx", "pan", "arnn"
CUDA = torch.device("cuda", 0)


def milliseconds(work: Callable[[], Any], repeats: int = 20, warm_up: int = 3) -> float:
    """Return the median time of a call on the GPU."""
    for _ in range(warm_up):
        work()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for start, end in events:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return round(statistics.median(start.elapsed_time(end) for start, end in events), 4)


def captured(work: Callable[[], Any]) -> Callable[[], None]:
    """Return the replay of a CUDA graph of the call."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def inputs_of(m: int, products: str = "bf16") -> list[Tensor]:
    """Return the arguments of a layer with m rows, as in a network: under autocast to bf16 the bias stays in fp32."""
    dtype = torch.bfloat16 if products == "bf16" else torch.float32
    inputs = [x.to(CUDA, dtype) for x in package.example(BATCH, m, m, 32, 32, 2)]
    inputs[1] = inputs[1].float()
    inputs[0] = inputs[0].contiguous(memory_format=torch.channels_last)
    return [x.requires_grad_() for x in inputs]


def with_gradients(call: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Return the output of a call and the gradients of its inputs."""
    out = call(*inputs)
    return [out, *torch.autograd.grad(out, inputs, torch.ones_like(out))]


def launched(*inputs: Tensor, products: str = "bf16") -> Tensor:
    """Call the Triton operator."""
    return triton_op.operator(*inputs, products, torch.is_grad_enabled())[0]


def both(m: int, call: Callable[..., Tensor], products: str = "bf16") -> dict[str, float]:
    """Return the times of the forward pass and of both passes of a layer, and the memory saved between the passes."""
    inputs = inputs_of(m, products)
    with torch.no_grad():
        forward = milliseconds(captured(lambda: call(*inputs)))
    out = None
    before = torch.cuda.memory_allocated()
    out = call(*inputs)
    kept = torch.cuda.memory_allocated() - before - out.nbytes
    del out
    return {
        "forward_ms": forward,
        "both_ms": milliseconds(captured(lambda: with_gradients(call, inputs))),
        "saved_mb": round(kept / 1e6, 1),
    }


def layers() -> None:
    """Time Triton, with a profile of its launches, and plain PyTorch; the largest map comes first."""
    for m in MAPS:
        tell(partial(both, m, launched), layer="triton", products="bf16", m=m)
    tell(_profiled, profile="one pass of the four layers")
    for m in MAPS:
        tell(partial(both, m, partial(_named, "packed")), layer="packed", products="bf16", m=m)


def products() -> None:
    """Time Triton with the matrix products for fp32."""
    for kind in ("tf32", "bf16x6"):
        for m in MAPS:
            call = partial(launched, products=kind)
            tell(partial(both, m, call, kind), layer="triton", products=kind, m=m)


def _named(implementation: str, *inputs: Tensor) -> Tensor:
    return package.diagonal_lstm(*inputs[:4], implementation, inputs[4])


def _profiled() -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    given = [inputs_of(m) for m in MAPS]
    for inputs in given:
        with_gradients(launched, inputs)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        for inputs in given:
            with_gradients(launched, inputs)
        torch.cuda.synchronize()
    spent: dict[str, float] = {}
    for event in profiled.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spent[event.name[:80]] = spent.get(event.name[:80], 0.0) + event.device_time_total
    longest = sorted(spent.items(), key=lambda item: -item[1])[:16]
    return {"microseconds": {name: round(time, 1) for name, time in longest}}


def reference() -> None:
    """Time the reference loop."""
    for m in reversed(MAPS):

        def work(m: int = m) -> dict[str, float]:
            inputs = inputs_of(m)
            return {"both_ms": milliseconds(lambda: with_gradients(partial(_named, "reference"), inputs), 3, 1)}

        tell(work, layer="reference", products="bf16", m=m)


def warps() -> None:
    """Time both passes with each number of warps, and mark the number that `triton_op.warps` chooses."""
    before = triton_op.warps
    for m in MAPS:
        for count in (1, 2, 4, 8):

            def work(m: int = m, count: int = count) -> dict[str, Any]:
                triton_op.warps = lambda _: count
                return {**both(m, launched), "chosen": before(triton_op.tiles(m, 32, 32, 2)) == count}

            tell(work, layer="triton", products="bf16", m=m, warps=count)
    triton_op.warps = before


def weights() -> None:
    """Time the kernel of the weight gradients with each number of warps and cells, and mark the chosen pair."""
    before = triton_op.warps_of_weights, triton_op.cells_at_once
    tile = triton_op.tiles(50, 32, 32, 2)
    chosen = before[0](tile, "bf16"), before[1](tile, "bf16")
    for m in MAPS[:2]:
        for count in (2, 4, 8):
            for cells in (32, 64, 128):

                def work(m: int = m, count: int = count, cells: int = cells) -> dict[str, Any]:
                    triton_op.warps_of_weights, triton_op.cells_at_once = lambda *_: count, lambda *_: cells
                    shapes = (BATCH, m, m, 32), (2, BATCH, m, m, 32), (2, BATCH, m, m, 128), (2, BATCH, 2, m, m)
                    given = [torch.randn(shape, device=CUDA, dtype=torch.bfloat16) for shape in shapes]
                    time = milliseconds(captured(lambda: triton_op.weight_gradients(*given, "bf16")))
                    return {"ms": time, "chosen": (count, cells) == chosen}

                tell(work, launch="weight_gradients", m=m, warps=count, cells=cells)
    triton_op.warps_of_weights, triton_op.cells_at_once = before


def steps(batch: int, questions: int | None, variant: str, precision: str) -> None:
    """Time training steps and inference of whole networks as CUDA graphs, alone and within a trainer."""
    labels = {"variant": variant, "precision": precision, "batch": batch, "questions": questions or 1}
    for name in NETWORKS:
        tell(partial(_step, name, batch, questions, variant, precision), network=name, capture="graph", **labels)
        gc.collect()
        torch.cuda.empty_cache()


def _step(name: str, batch: int, questions: int | None, variant: str, precision: str) -> dict[str, Any]:
    spec, computing = get_variant(variant), ComputeConfig(CUDA, precision, "graph")
    recipe = replace(RECIPES["fast"], batch=batch)
    model = build(name, spec, 0, CUDA)
    timed = time_networks({name: model}, Workload(recipe, spec, questions), computing, 5)[name].as_dict()
    try:
        trained = trainer_steps.measured(name, computing, batch, questions or 1, variant)
    except Exception as error:  # record the times of the network alone
        return timed | {"trainer_failed": f"{type(error).__name__}: {error}"[:300]}
    return timed | {"trainer_step_ms": trained["train_step_ms"], "val_ms_per_image": trained["infer_ms_per_image"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"layers": layers, "products": products, "reference": reference, "warps": warps, "weights": weights}
    parser.add_argument("part", choices=(*parts, "steps"), help="what to measure")
    parser.add_argument("batches", nargs="*", default=[str(BATCH)], metavar="BATCH", help="batches of steps (128)")
    parser.add_argument("--variant", default="mref", help="variant of steps (mref)")
    parser.add_argument("--precision", default="bf16", help="precision of steps (bf16)")
    asked = parser.parse_args()
    guard.end_with_the_session()
    if asked.part != "steps":
        parts[asked.part]()
        return
    for text in asked.batches:
        batch, _, questions = text.partition("x")
        steps(int(batch), int(questions) if questions else None, asked.variant, asked.precision)


if __name__ == "__main__":
    main()
