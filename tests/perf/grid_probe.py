"""Print what a training step of some mechanisms takes: `bench.timing.Timing.as_dict` and `network`, as JSON.

python -m tests.perf.grid_probe NAMES --device cuda --batch 32 --questions 5 [--variant mref] [--capture graph]

One that cannot be measured has a line with `failed` instead, and the next one comes.
"""

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bench.computing import Computing
from bench.config import RECIPES
from bench.model import build
from bench.timing import measure
from mnistref.variants import get_variant
from tests.perf.gpu_checks import tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--variant", default="mref")
    parser.add_argument("--capture", choices=("eager", "graph"), default="eager")
    asked = parser.parse_args()
    on_gpu = asked.device == "cuda"
    computing = Computing(torch.device(asked.device), "bf16" if on_gpu else "fp32", asked.capture)
    for name in asked.names.split(","):
        tell(partial(timed, name, computing, asked.batch, asked.questions, asked.variant), network=name)


def timed(name: str, computing: Computing, batch: int, questions: int, variant: str) -> dict[str, Any]:
    spec, recipe = get_variant(variant), replace(RECIPES["fast"], batch=batch)
    model, rounds = build(name, spec, 0, computing.device), 3 if computing.device.type == "cuda" else 1
    return measure({name: model}, recipe, spec, computing, rounds, questions)[name].as_dict()


if __name__ == "__main__":
    main()
