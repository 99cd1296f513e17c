"""Compare a training step with all questions about its images on a CPU in fp32 and in bf16.

    python -m tests.perf.precision [--attn san,pan,pan-ctx,arnn] [--variant mbg] [--images 32] [--rounds 7]
        [--threads 1]

The images are random, with as many digits as the variant draws. The steps alternate. The table has the medians of their
processor times, and the median of the ratios of the rounds.
"""

import argparse
import statistics

import torch

from bench.attention import canonical_names
from bench.common.memory import keep_freed
from bench.compute import ComputeConfig
from mnistref.common.errors import UsageProblemError
from mnistref.common.text_table import table
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant
from tests.perf.questions import seconds, stepping

PRECISIONS = "fp32", "bf16"


def times(attn: str, variant: VariantSpec, images: int, rounds: int) -> list[list[float]]:
    """Return the processor seconds of a step in each precision, one row for each round."""
    device = torch.device("cpu")
    works = [stepping(attn, variant, images, True, ComputeConfig(device, precision))[0] for precision in PRECISIONS]
    for work in works:
        work()
    return [[seconds(work) for work in works] for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="san,pan,pan-ctx,arnn", help="mechanisms")
    parser.add_argument("--variant", default="mbg", help="variant of the network (mbg)")
    parser.add_argument("--images", type=int, default=32, help="images of a step (32)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of measurement (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    asked = parser.parse_args()
    try:
        variant, names = get_variant(asked.variant), canonical_names(asked.attn)
    except UsageProblemError as error:
        parser.error(str(error))
    torch.set_num_threads(asked.threads)
    keep_freed(torch.device("cpu"))
    rows = [["", *(f"{precision}, ms" for precision in PRECISIONS), "ratio"]]
    for attn in names:
        measured = times(attn, variant, asked.images, asked.rounds)
        medians = [f"{1e3 * statistics.median(column):.0f}" for column in zip(*measured, strict=True)]
        ratio = statistics.median(single / half for single, half in measured)
        rows.append([attn, *medians, f"{ratio:.2f} ×"])
    print(f"{asked.variant}, {asked.threads} threads: a step with all questions about {asked.images} images\n")
    print(table(rows))


if __name__ == "__main__":
    main()
