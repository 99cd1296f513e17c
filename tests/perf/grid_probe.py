"""Print what a training step of some mechanisms takes: `bench.profiling.timing.Timing.as_dict` and `network`, as JSON.

python -m tests.perf.grid_probe NAMES --device cuda --batch 32 --questions 5 [--variant mref]
"""

import argparse
import json
from dataclasses import replace

import torch

from bench.compute import Computing
from bench.config import RECIPES
from bench.model import build
from bench.profiling.timing import measure
from mnistref.variants import get_variant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--variant", default="mref")
    asked = parser.parse_args()
    on_gpu, variant = asked.device == "cuda", get_variant(asked.variant)
    computing = Computing(torch.device(asked.device), "bf16" if on_gpu else "fp32", "graph" if on_gpu else "eager")
    for name in asked.names.split(","):
        model, recipe = build(name, variant, 0, computing.device), replace(RECIPES["fast"], batch=asked.batch)
        timing = measure({name: model}, recipe, variant, computing, 3 if on_gpu else 1, asked.questions)[name]
        print(json.dumps({"network": name, **timing.as_dict()}), flush=True)


if __name__ == "__main__":
    main()
