"""The core hours of the runs that are left in the grid, from one measured step of each network."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from bench.attention import canonical_names, resolve_network
from bench.compute import ComputeConfig
from bench.config import DEFAULT_WIDTH
from bench.profiling.forecast import estimate_step_seconds, mean_questions
from bench.recipes import RECIPES, Recipe
from bench.runs import records
from mnistref.common.text_table import table
from mnistref.variants import get_variant
from tests.perf.grid_plan import RUNS, Stage, steps

TESTED = 1 / 3
"""Time of a question that is only answered, as a share of its time in a training step."""


class Part(NamedTuple):
    """The runs of a stage and a seed that are left.

    Attributes:
        seed: the seed.
        stage: the stage.
        left: variant and mechanism of each run, in full notation.
    """

    seed: int
    stage: Stage
    left: tuple[tuple[str, str], ...]


class Sizes(NamedTuple):
    """Numbers of images of a data set. Validation and test have one question about each."""

    train: int
    val: int
    test: int


def parts_left(order: Iterable[tuple[int, Stage]], finished: set[tuple[str, str, int]]) -> Iterator[Part]:
    """Yield the steps of `grid_plan.steps` that have runs left.

    Args:
        order: seeds and stages, as `grid_plan.steps` yields them.
        finished: variant, mechanism and seed of each finished run, see `finished_in`.
    """
    for seed, stage in order:
        names = canonical_names(",".join(stage.attns))
        runs = ((variant, attn) for variant in stage.variants for attn in names)
        if left := tuple(run for run in runs if (*run, seed) not in finished):
            yield Part(seed, stage, left)


def finished_in(runs: Path) -> set[tuple[str, str, int]]:
    """Return variant, mechanism and seed of each finished run in a folder."""
    found = set()
    for folder in runs.glob("*/"):
        if records.is_finished(folder):
            config = json.loads((folder / records.CONFIG).read_text(encoding="utf-8"))
            found.add((config["variant"], config["attn"], config["seed"]))
    return found


def run_hours(run: tuple[str, str], recipe: Recipe, sizes: Sizes, computing: ComputeConfig) -> float:
    """Measure a step of a network, and return the estimated hours of a run with its tests, on one core or GPU.

    Args:
        run: variant and mechanism.
        recipe: how the network is trained.
        sizes: of the data set.
        computing: device and precision.
    """
    variant, attn = run
    spec = get_variant(variant)
    step = estimate_step_seconds(resolve_network(attn, DEFAULT_WIDTH), spec, recipe, computing, threads=1)
    answered = (recipe.epochs * sizes.val + sizes.test) * TESTED / (recipe.batch * mean_questions(recipe, spec))
    return step * (recipe.epochs * (sizes.train // recipe.batch) + answered) / 3600


def forecast(parts: Sequence[Part], hours: Mapping[tuple[str, str], float], workers: int) -> str:
    """Return a table of the runs that are left, in the order of training.

    Args:
        parts: seeds and stages with their runs.
        hours: of a run, for each variant and mechanism.
        workers: number of runs at a time.
    """
    each = [sum(hours[run] for run in part.left) for part in parts]
    rows = [["variants", "seed", "runs", "hours", f"end, {workers} at a time", "mechanisms"]]
    for part, spent, until in zip(parts, each, accumulate(each), strict=True):
        names = list(dict.fromkeys(attn for _, attn in part.left))
        variants = dict.fromkeys(variant for variant, _ in part.left)
        figures = str(part.seed), str(len(part.left)), f"{spent:.1f}", f"{until / workers:.1f} h"
        rows.append([", ".join(variants), *figures, " ".join(names)])
    total = sum(len(part.left) for part in parts), sum(each)
    return f"{table(rows)}\n\n{total[0]} runs, {total[1]:.0f} hours of one core or GPU"


def forecast_of(asked: argparse.Namespace) -> str:
    """Return a table of the runs that are left, and of their hours, see `forecast`."""
    epochs = asked.epochs or RECIPES["fast"].epochs
    recipe = replace(RECIPES["fast"], batch=asked.batch, questions=asked.questions, epochs=epochs)
    order = steps(asked.seeds, asked.main.split(","), asked.stages)
    parts = list(parts_left(order, finished_in(asked.folder / RUNS)))
    computing = ComputeConfig(torch.device(asked.device), "bf16" if asked.device == "cuda" else "fp32")
    runs = tqdm(dict.fromkeys(run for part in parts for run in part.left), unit=" networks", leave=False)
    hours = {run: run_hours(run, recipe, Sizes(*asked.sizes), computing) for run in runs}
    return f"{forecast(parts, hours, asked.workers)}, {epochs} epochs each"
