"""Measure the cost of several questions per image in a training step, and the parts of the time of such a step.

    python -m tests.perf.questions [--attn san,pan,arnn] [--variant mref] [--images 32] [--one 50] [--rounds 5]
        [--threads 1]

1. Questions per processor second of a training step (forward pass, gradients, clipping, update): with one question for
   each of --one images, and with all questions for each of --images. The ratio is the median over alternating rounds,
   and the time of a step that of the median round.
2. The parts of a step with all questions, in percent of its processor time by PyTorch's profiler. The last column is
   the time of the matrix products alone (convolutions and linear layers, without the LSTM) at the peak rate of the
   processor, measured by a product of two large matrices in the same process.
The images are random, with as many digits as the variant draws.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.attention import canonical_names
from bench.common.memory import keep_freed
from bench.compute import ComputeConfig
from bench.config import FIRST_RECIPES
from bench.model import build
from bench.training.step import Step, build_optimizer
from mnistref.common.errors import UsageProblemError
from mnistref.common.text_table import table
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant

CPU = ComputeConfig(torch.device("cpu"))
RECIPE = FIRST_RECIPES["fast"]
PARTS = {  # part of the name of an operator: name of its column; the first match counts
    "diagonal_lstm": "LSTM",
    "optimizer": "optimiser",
    "_foreach": "optimiser",
    "_fused_adam": "optimiser",
    "conv": "convolutions",
    "pool": "pooling",
    "batch_norm": "norms",
    "addmm": "linear",
    "mm": "linear",
    "copy": "copies",
    "clone": "copies",
    "index": "copies",
    "cat": "copies",
    "fill": "copies",
    "zero": "copies",
}
REST = "gates and the rest"
COLUMNS = ["convolutions", "pooling", "norms", "LSTM", "linear", "copies", "optimiser", REST]


def given(variant: VariantSpec, images: int, several: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return random images, queries and labels, and the image of each question if there are several per image."""
    shown = torch.rand(images, 3, variant.canvas, variant.canvas).contiguous(memory_format=torch.channels_last)
    low, high = variant.digits
    of = torch.arange(images).repeat_interleave(torch.randint(low, high + 1, (images,))) if several else None
    asked = images if of is None else len(of)
    return shown, torch.randint(variant.queries, (asked,)), torch.randint(variant.classes, (asked,)), of


def stepping(
    attn: str, variant: VariantSpec, images: int, several: bool, computing: ComputeConfig = CPU
) -> tuple[Callable[[], object], int]:
    """Return a training step, and its number of questions."""
    torch.manual_seed(0)
    model = build(attn, variant, 0, computing.device).train()
    step, inputs = Step(model, RECIPE, build_optimizer(RECIPE, model), computing), given(variant, images, several)
    return lambda: step(*inputs), len(inputs[1])


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    used = time.process_time()
    work()
    return time.process_time() - used


class Speeds(NamedTuple):
    """Questions per second with one and with all questions per image, medians over rounds.

    Attributes:
        one, several: questions per second.
        ratio: median of the ratios of the rounds.
        step: seconds of a step with all questions.
    """

    one: float
    several: float
    ratio: float
    step: float


def speeds(attn: str, variant: VariantSpec, one: int, images: int, rounds: int) -> Speeds:
    """Measure the speed of both kinds of step."""
    works = [stepping(attn, variant, one, False), stepping(attn, variant, images, True)]
    for work, _ in works:
        work()
    found = [[asked / seconds(work) for work, asked in works] for _ in range(rounds)]
    alone, several = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(together / single for single, together in found)
    return Speeds(alone, several, ratio, works[1][1] / several)


def parts(attn: str, variant: VariantSpec, images: int) -> tuple[dict[str, float], float]:
    """Return the share of each part of a step, and the floating-point operations of its matrix products."""
    work, _ = stepping(attn, variant, images, True)
    work()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        work()
    spent: Counter[str] = Counter()
    for event in profiled.key_averages():
        name = event.key.lower()
        spent[next((part for key, part in PARTS.items() if key in name), REST)] += event.self_cpu_time_total
    with FlopCounterMode(display=False) as counted:
        work()
    total = sum(spent.values())
    return {part: spent[part] / total for part in COLUMNS}, float(counted.get_total_flops())


def peak() -> float:
    """Return the peak rate of a matrix product, in floating-point operations per second."""
    a, b = torch.rand(2, 1536, 1536)
    torch.mm(a, b)
    return 2 * 1536**3 / min(seconds(lambda: torch.mm(a, b)) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="san,han,ltpa-dp,stn-m,cbam,pan,pan-ctx,arnn,brnn2+arnn", help="mechanisms")
    parser.add_argument("--variant", default="mref", help="variant of the network (mref)")
    parser.add_argument("--images", type=int, default=32, help="images of a step with all questions (32)")
    parser.add_argument("--one", type=int, default=50, help="images of a step with one question each (50)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of measurement (5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    asked = parser.parse_args()
    try:
        variant, names = get_variant(asked.variant), canonical_names(asked.attn)
    except UsageProblemError as error:
        parser.error(str(error))
    torch.set_num_threads(asked.threads)
    keep_freed(CPU.device)
    rows, measured = [["", f"one, {asked.one} images", f"all, {asked.images} images", "ratio"]], {}
    for attn in names:
        found = measured[attn] = speeds(attn, variant, asked.one, asked.images, asked.rounds)
        rows.append([attn, f"{found.one:.0f}", f"{found.several:.0f}", f"{found.ratio:.2f} ×"])
    print(f"{asked.variant}, {asked.threads} threads: questions per processor second in a training step\n")
    print(table(rows), flush=True)
    rate, rows = peak(), [["", "ms", *COLUMNS, "products at peak"]]
    for attn in names:
        shares, flops = parts(attn, variant, asked.images)
        took = measured[attn].step
        shown = [f"{100 * shares[part]:.0f}" if shares[part] else "–" for part in COLUMNS]
        rows.append([attn, f"{1e3 * took:.0f}", *shown, f"{100 * flops / rate / took:.0f}"])
    print(
        f"\nParts of a step with all questions of {asked.images} images, in percent; peak: {rate / 1e9:.0f} GFLOP/s\n"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
