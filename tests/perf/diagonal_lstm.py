"""How much the packed diagonal LSTM saves: training steps of whole networks, interleaved in one process.

    python -m tests.perf.diagonal_lstm [--batch 32] [--repeats 5] [--variant mref]

Prints medians in ms and the ratio to `san`. It times nothing before both implementations agree.
"""

import argparse
import statistics
import time

import torch
from torch.nn import functional as F

from bench.kernels.diagonal_lstm import IMPLEMENTATIONS, diagonal_lstm
from bench.model import AttributeCNN, create_model
from mnistref.text import table
from mnistref.variants import get_variant


def agree() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 5, 9, 7), (2, 2, 32), (2, 32, 5), (2, 32, 16))
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    first, *others = (
        (h := diagonal_lstm(*inputs, name), *torch.autograd.grad(h.sum(), inputs)) for name in IMPLEMENTATIONS
    )
    for other in others:
        for a, b in zip(first, other, strict=True):
            torch.testing.assert_close(a, b)


def networks(variant: str) -> dict[str, AttributeCNN]:
    made = {name: create_model(name, variant=variant) for name in ("san", "pan-ctx")}
    for implementation in IMPLEMENTATIONS:
        model = create_model("arnn", variant=variant)
        for module in model.modules():
            if hasattr(module, "implementation"):
                module.implementation = implementation
        made[f"arnn, {implementation}"] = model
    return {name: model.to(memory_format=torch.channels_last) for name, model in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variant", default="mref")
    options = parser.parse_args()
    agree()
    canvas = get_variant(options.variant).canvas
    images = torch.rand(options.batch, 3, canvas, canvas).to(memory_format=torch.channels_last)
    query, label = torch.randint(5, (2, options.batch))
    models = networks(options.variant)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(1 + options.repeats):
        for name, model in models.items():
            started = time.perf_counter()
            F.cross_entropy(model(images, query).logits, label).backward()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [["network", "step ms", "× san"]]
    rows += [[name, f"{1e3 * m:.0f}", f"{m / medians['san']:.2f}"] for name, m in medians.items()]
    print(f"{options.variant}, batch {options.batch}, {torch.get_num_threads()} threads, fp32, cpu\n{table(rows)}")


if __name__ == "__main__":
    main()
