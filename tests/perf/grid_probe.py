"""Print the times of a training step of some mechanisms, as a line of JSON for each one.

python -m tests.perf.grid_probe NAMES --device cuda --batch 32 --questions 5 [--variant mref] [--capture graph]

A line has `network` and the values of `trainer_steps.measured`, or `failed` if the mechanism cannot be measured.
"""

import argparse
from functools import partial

import torch

from bench.compute import ComputeConfig
from tests.perf.gpu_checks import tell
from tests.perf.trainer_steps import measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAMES", help="mechanisms, separated by commas")
    parser.add_argument("--device", default="cuda", help="cuda or cpu (cuda)")
    parser.add_argument("--batch", type=int, default=32, help="images per step (32)")
    parser.add_argument("--questions", type=int, default=5, help="questions per image (5)")
    parser.add_argument("--variant", default="mref", help="variant of the network (mref)")
    parser.add_argument("--capture", choices=("eager", "graph"), default="eager", help="as in bench run (eager)")
    asked = parser.parse_args()
    on_gpu = asked.device == "cuda"
    computing = ComputeConfig(torch.device(asked.device), "bf16" if on_gpu else "fp32", asked.capture)
    for name in asked.names.split(","):
        tell(partial(measured, name, computing, asked.batch, asked.questions, asked.variant), network=name)


if __name__ == "__main__":
    main()
