"""Measure the errors and the speed of the diagonal LSTM's implementations on the CPU, in one process.

    python -m tests.perf.diagonal_lstm [--batch 32 50] [--threads 1 2] [--variant mref] [--implementations cpu packed]

1. Relative errors in fp32 of the values and of each gradient, compared with the reference in fp64 on a map of 50 × 50.
   An error above the tolerance ends the program before any measurement of time.
2. Training steps of whole networks, in alternation: milliseconds, and the ratios to `san` and `pan-ctx`.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from bench.compute import ComputeConfig
from bench.config import RECIPES
from bench.kernels.diagonal_lstm import IMPLEMENTATIONS, TOLERANCE, diagonal_lstm, example, relative_error
from bench.model import AttributeCNN, create_model
from bench.profiling.timing import Workload, time_networks
from mnistref.common.text_table import table
from mnistref.variants import get_variant

NAMES = [name for name in IMPLEMENTATIONS if name != "triton"]  # triton needs a GPU: see gpu_session.py
QUANTITIES = ("values", "d context", "d bias", "d kernel_x", "d kernel_h", "d readout")


def results(name: str, inputs: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Return the values and the gradients of all inputs, by this implementation in this precision."""
    given = [x.to(dtype).requires_grad_() for x in inputs]
    out = diagonal_lstm(*given[:4], name, given[4])
    return [out, *torch.autograd.grad(out.square().sum(), given)]


def errors(names: Sequence[str]) -> dict[str, list[float]]:
    """Return the relative errors of each implementation in fp32, one for each of `QUANTITIES`."""
    inputs = example(batch=3, m=50, n=50, channels=32, t=32, p=2)
    exact = results("reference", inputs, torch.float64)
    found = {}
    for name in names:
        pairs = zip(results(name, inputs, torch.float32), exact, strict=True)
        found[name] = [relative_error(rough, right) for rough, right in pairs]
    return found


def networks(variant: str, names: Sequence[str]) -> dict[str, AttributeCNN]:
    """Return the networks to compare: `san`, `pan-ctx`, and `arnn` with each implementation."""
    made = {name: create_model(name, variant=variant) for name in ("san", "pan-ctx")}
    for name in names:
        made[f"arnn, {name}"] = model = create_model("arnn", variant=variant)
        for module in model.modules():
            if hasattr(module, "implementation"):
                module.implementation = name
    return {name: model.to(memory_format=torch.channels_last) for name, model in made.items()}


def steps(variant: str, names: Sequence[str], batch: int) -> list[list[str]]:
    """Return the table of times of training steps and inference."""
    law, recipe = get_variant(variant), replace(RECIPES["fast"], batch=batch)
    models = networks(variant, names)
    timings = time_networks(models, Workload(recipe, law), ComputeConfig(torch.device("cpu")))
    rows = [["network", "step, ms", "/ san", "/ pan-ctx", "inference, ms per image", "memory of a step, MB"]]
    for name, timing in timings.items():
        ratios = [f"{timing.step.ratio_to(timings[other].step).median:.2f}" for other in ("san", "pan-ctx")]
        others = f"{timing.infer.median:.2f}", f"{timing.peak_memory_mb:.0f}"
        rows.append([name, f"{timing.step.median:.0f}", *ratios, *others])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 50], help="batch sizes (32 50)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    parser.add_argument("--variant", default="mref", help="variant of the networks (mref)")
    parser.add_argument(
        "--implementations", nargs="+", choices=NAMES, default=NAMES, help="implementations to compare (default: all)"
    )
    options = parser.parse_args()
    found = errors(options.implementations)
    rows = [[name, *(f"{error:.1e}" for error in row)] for name, row in found.items()]
    print(table([["error", *QUANTITIES], *rows]), flush=True)
    if max(map(max, found.values())) > TOLERANCE[torch.float32]:
        sys.exit(f"an error exceeds the tolerance of {TOLERANCE[torch.float32]:.0e}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for batch in options.batch:
            print(f"\n{options.variant}, batch {batch}, threads {threads}, fp32, cpu", flush=True)
            print(table(steps(options.variant, options.implementations, batch)), flush=True)


if __name__ == "__main__":
    main()
