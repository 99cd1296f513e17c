"""What the diagonal LSTM costs on a GPU, and how exact it is: one part of a session, whose results are a JSON file.

    python -m tests.perf.gpu_session {errors, layers, variants, steps} FILE [--size 100] [--precisions bf16]

The file is written after each measurement, so that a part that is ended by force leaves what it has. Times are medians
of replays of a CUDA graph, or of calls ("eager"), in milliseconds; what fails is recorded as text.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

from bench.compute import Computing
from bench.config import CAPTURES, PRECISIONS, RECIPES
from bench.kernels import diagonal_lstm as package
from bench.kernels.diagonal_lstm import PRODUCTS, diagonal_lstm, example, relative_error, triton_op
from bench.profiling.benchmark import runtime, to_json
from mnistref.variants import get_variant

MAPS = {100: (50, 25, 12, 6), 224: (112, 56, 28, 14, 7)}
BATCHES = 128, 64, 256
CUDA = torch.device("cuda", 0)


class Results:
    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, []

    def add(self, work: Callable[[], dict[str, Any]], **labels: Any) -> None:
        started = time.perf_counter()
        try:
            found = work()
        except Exception as error:  # the next one may do
            found = {"failed": f"{type(error).__name__}: {error}"[:500]}
        gc.collect()
        torch.cuda.empty_cache()
        self.rows.append({**labels, **found, "seconds": round(time.perf_counter() - started, 2)})
        print(self.rows[-1], flush=True)
        about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
        self.file.write_text(json.dumps({**about, "results": self.rows}, indent=1))


def milliseconds(work: Callable[[], Any], repeats: int = 20, warm_up: int = 3) -> float:
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


def both_ways(work: Callable[[], Any], repeats: int = 20) -> dict[str, float]:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    eager = milliseconds(work, min(repeats, 7), 2)
    peak = round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    return {"eager_ms": eager, "peak_mb": peak, "graph_ms": milliseconds(captured(work), repeats)}


def arguments(m: int, batch: int, dtype: torch.dtype, gradients: bool = True) -> list[Tensor]:
    inputs = [x.to(CUDA, dtype) for x in example(batch, m, m, 32, 32, 2)]
    inputs[0] = inputs[0].contiguous(memory_format=torch.channels_last)
    return [x.requires_grad_(gradients) for x in inputs]


def with_gradients(call: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    out = call(*inputs)
    return [out, *torch.autograd.grad(out, inputs, torch.ones_like(out))]


def launched(products: str) -> Callable[..., Tensor]:
    return lambda *inputs: triton_op.operator(*inputs, products, torch.is_grad_enabled())[0]


def inputs_of(products: str, m: int, n: int, batch: int) -> list[Tensor]:
    """As the network gives them: under autocast to bf16 the bias stays in fp32."""
    inputs = [x.to(CUDA, dtype_of(products)) for x in example(batch, m, n, 32, 32, 2)]
    if products == "bf16":
        inputs[1] = inputs[1].float()
    inputs[0] = inputs[0].contiguous(memory_format=torch.channels_last)
    return [x.requires_grad_() for x in inputs]


def dtype_of(products: str) -> torch.dtype:
    return torch.bfloat16 if products == "bf16" else torch.float32


def errors_of(products: str, m: int) -> dict[str, Any]:
    inputs = example(2, m, min(m, 20), 32, 32, 2)
    exact = with_gradients(package.IMPLEMENTATIONS["packed"], [x.clone().requires_grad_() for x in inputs])
    given = inputs_of(products, m, min(m, 20), 2)
    found = with_gradients(launched(products), given)
    again = with_gradients(launched(products), given)
    worst = [float(f"{relative_error(a.cpu(), b):.2e}") for a, b in zip(found, exact, strict=True)]
    return {"errors": worst, "same_bits": all(torch.equal(a, b) for a, b in zip(found, again, strict=True))}


def errors(results: Results) -> None:
    for products in ("bf16", "tf32", "bf16x6", "tf32x3", "bf16x3"):
        for m in (50, 25, 12, 112) if products in PRODUCTS else (25,):
            if products in PRODUCTS and not triton_op.takes(m, 20, 32, 32, 2, products):
                continue
            results.add(lambda products=products, m=m: errors_of(products, m), products=products, m=m)


def layer(name: str, m: int, batch: int, dtype: torch.dtype) -> dict[str, Any]:
    def call(*inputs: Tensor) -> Tensor:
        return diagonal_lstm(*inputs[:4], name, inputs[4])

    inputs = arguments(m, batch, dtype)
    if name == "triton" and not package.fits(CUDA, dtype, m, m, 32, 32, 2):
        return {"failed": "does not fit"}
    with torch.no_grad():
        forward = milliseconds(captured(lambda: call(*inputs)))
    return {"forward_ms": forward, **both_ways(lambda: with_gradients(call, inputs))}


def layers(results: Results) -> None:
    for batch in BATCHES:
        for name, dtype in (("triton", torch.bfloat16), ("packed", torch.bfloat16), ("triton", torch.float32)):
            for m in (*MAPS[100], *MAPS[224]) if batch == 128 and name == "triton" else MAPS[100]:
                labels = {"implementation": name, "dtype": str(dtype), "m": m, "batch": batch}
                results.add(lambda n=name, m=m, b=batch, d=dtype: layer(n, m, b, d), **labels)
    for m in MAPS[100]:  # the obvious loop, for the ratio to it
        inputs = arguments(m, BATCHES[0], torch.bfloat16)
        labels = {"implementation": "reference", "dtype": "torch.bfloat16", "m": m, "batch": BATCHES[0]}
        results.add(lambda i=inputs: {"eager_ms": milliseconds(lambda: with_gradients(looped, i), 3, 1)}, **labels)
    results.add(lambda: sums(results.rows), of="four layers, forward and back")


def looped(*inputs: Tensor) -> Tensor:
    return diagonal_lstm(*inputs[:4], "reference", inputs[4])


def sums(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds and saved MB of the four layers of a network for 100 px, batch 128 in bf16, and the goals."""
    found: dict[str, Any] = {"goals": {"triton graph_ms": 1.0, "reference / triton": 50, "saved_mb": 165}}
    for name, key in (("triton", "graph_ms"), ("packed", "graph_ms"), ("reference", "eager_ms")):
        times = [
            row[key]
            for row in rows
            if row["implementation"] == name
            and (row["batch"], row["dtype"]) == (BATCHES[0], "torch.bfloat16")
            and row["m"] in MAPS[100]
            and key in row
        ]
        found[f"{name} {key}"] = sum(times) if len(times) == len(MAPS[100]) else None
    found["saved_mb"] = sum(2 * 2 * BATCHES[0] * m * m * 32 * 2 / 1e6 for m in MAPS[100])  # h and c, two directions
    return found


def variants(results: Results) -> None:
    """Other numbers of warps and other products, launch by launch."""
    for products in ("bf16", "tf32", "bf16x6"):
        for m in (50, 25, 12):
            for warps in (2, 4, 8):

                def work(products: str = products, m: int = m, warps: int = warps) -> dict[str, Any]:
                    triton_op.warps = lambda _: warps
                    inputs, call = inputs_of(products, m, m, 128), launched(products)
                    with torch.no_grad():
                        forward = milliseconds(captured(lambda: call(*inputs)))
                    whole = milliseconds(captured(lambda: with_gradients(call, inputs)))
                    return {"forward_ms": forward, "both_ms": whole}

                if (warps == 4 or products == "bf16") and triton_op.takes(m, m, 32, 32, 2, products):
                    results.add(work, products=products, m=m, warps=warps)


def steps(results: Results, size: int, precisions: Sequence[str]) -> None:
    """Whole networks by `benchmark`: each batch issued and recorded; the LSTM in plain PyTorch beside Triton."""
    variant = get_variant({100: "mbg", 224: "mbgb"}[size])

    def work(batch: int, precision: str, capture: str, implementation: str) -> dict[str, Any]:
        os.environ[package.VARIABLE] = implementation
        names = ("none", "pan", "arnn") if implementation == "triton" else ("arnn",)
        recipe = replace(RECIPES["fast"], batch=batch)
        return to_json(*runtime(names, variant, recipe, Computing(CUDA, precision, capture)))

    for precision in precisions:
        for batch in BATCHES if precision == "bf16" else BATCHES[:1]:
            for capture in CAPTURES:
                for name in ("triton", "packed") if batch == BATCHES[0] and size == 100 else ("triton",):
                    labels = {"size": size, "batch": batch, "precision": precision, "capture": capture}
                    results.add(partial(work, batch, precision, capture, name), **labels, implementation=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("errors", "layers", "variants", "steps"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, choices=list(MAPS), default=100)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["bf16"])
    options = parser.parse_args()
    results = Results(options.file)
    if options.part == "steps":
        steps(results, options.size, options.precisions)
    else:
        {"errors": errors, "layers": layers, "variants": variants}[options.part](results)


if __name__ == "__main__":
    main()
