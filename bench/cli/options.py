"""Options that several commands of `bench` share, and what is chosen by them."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.values import Number, Questions
from bench.config import (
    BASELINE,
    CAPTURES,
    DEVICES,
    EVERY,
    LEAST_BATCH,
    LOGS,
    PRECISIONS,
    PRESETS,
    RECIPES,
    WIDEST,
    WIDTH,
    DataOptions,
    Preset,
    Recipe,
    choose_recipe,
)
from mnistref.common.click_program import EXISTING, FOLDER

if TYPE_CHECKING:
    from bench.compute import ComputeConfig
    from bench.training.progress import ProgressOptions


@dataclass(frozen=True)
class RunOptions:
    """What one run trains."""

    attn: str | None
    variant: str | None
    data: Path | None
    seed: int
    init: Path | None


@dataclass(frozen=True)
class ComputingOptions:
    """Where and how networks are computed."""

    device: str
    precision: str
    capture: str
    deterministic: bool

    @property
    def chosen(self) -> "ComputeConfig":
        from bench.compute import resolve_compute

        return resolve_compute(self.device, self.precision, self.capture, self.deterministic)


@dataclass(frozen=True)
class TrainingOptions:
    """How networks are trained, and on what."""

    recipe: str | None
    preset: str
    queries: str
    width: int
    epochs: int | None
    batch: int | None
    lr: float | None
    fade: float | None
    questions: int | str | None
    digits: str | None
    backgrounds: str
    online: bool
    stream: bool | None
    root: Path
    runs: Path | None
    threads: int | None
    log: str | None
    every: float

    @property
    def chosen_preset(self) -> Preset:
        return PRESETS[self.preset]

    @property
    def chosen_recipe(self) -> Recipe:
        return choose_recipe(
            self.chosen_preset, self.recipe, self.epochs, self.batch, self.lr, self.fade, self.questions
        )

    @property
    def data_options(self) -> DataOptions:
        """Its paths mean the same in every working directory."""
        folders = [str(Path(p).absolute()) if p and Path(p).is_dir() else None for p in (self.digits, self.backgrounds)]
        return DataOptions(self.stream, str(self.root.absolute() / "raw"), *folders)

    @property
    def chosen_runs(self) -> Path:
        return self.runs or self.root / "runs"

    def set_threads(self) -> None:
        """Of this process, where it trains itself."""
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)

    @property
    def progress_options(self) -> "ProgressOptions":
        from bench.training.progress import ProgressOptions

        progress_options = ProgressOptions(self.log, self.every)
        progress_options.require_packages()
        return progress_options


@dataclass(frozen=True)
class BoardOptions:
    """Which runs are compared, and with what."""

    runs: Path
    variant: str | None
    baseline: str

    @property
    def chosen_variant(self) -> str | None:
        from mnistref.variants import get_variant

        return get_variant(self.variant).name if self.variant else None

    @property
    def chosen_baseline(self) -> str:
        from bench.attention import canonical_name

        return canonical_name(self.baseline)


def _gathered(kind: type, name: str, options: list[Callable]) -> Callable[[Callable], Callable]:
    """A decorator that adds options to a command and hands them over as one value."""

    def decorate(command: Callable) -> Callable:
        @wraps(command)
        def call(**given: Any) -> Any:
            value = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            return command(**given, **{name: value})

        for option in reversed(options):
            call = option(call)
        return call

    return decorate


run_options = _gathered(
    RunOptions,
    "asked",
    [
        click.option("--attn", metavar="NAME", help="A name (see `bench list`), slots (none,arnn), or file.py:Class."),
        click.option("--variant", metavar="NAME", help="Data set to train on.  [default: the preset's]"),
        click.option("--data", type=EXISTING, help="A data set already made, instead of --variant."),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True),
        click.option(
            "--init",
            type=FOLDER,
            metavar="RUN",
            help="Start from those of this run's weights that fit, as after an easier variant.",
        ),
    ],
)

board_options = _gathered(
    BoardOptions,
    "compared",
    [
        click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Where runs are kept."),
        click.option("--variant", metavar="NAME", help="Only this variant."),
        click.option(
            "--baseline", metavar="NAME", default=BASELINE, show_default=True, help="Differences are to this network."
        ),
    ],
)

computing_options = _gathered(
    ComputingOptions,
    "computing",
    [
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="fp32",
            show_default=True,
            help="tf32 rounds the factors of products, on CUDA only; bf16 is autocast.",
        ),
        click.option(
            "--capture",
            type=click.Choice(["auto", *CAPTURES]),
            default="auto",
            show_default=True,
            help="graph records a step's forward pass and gradients once and replays them, on CUDA only; auto does so "
            "where it can, and else says why not.",
        ),
        click.option(
            "--deterministic", is_flag=True, help="The same bits each time on CUDA too; a CPU gives them anyway."
        ),
    ],
)

training_options = _gathered(
    TrainingOptions,
    "training",
    [
        click.option("--recipe", metavar="|".join(RECIPES), help="How to train.  [default: the preset's]"),
        click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True),
        click.option("--queries", type=click.Choice(["one", "all", "author"]), default="one", show_default=True),
        click.option(
            "--width",
            type=click.IntRange(1, WIDEST),
            default=WIDTH,
            show_default=True,
            help="Channels of each convolution.",
        ),
        click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's."),
        click.option("--batch", type=click.IntRange(min=LEAST_BATCH), help="Likewise: images in a step."),
        click.option(
            "--questions",
            type=Questions(),
            help="Likewise: how many questions about an image share a step; of all its digits, or its own one.",
        ),
        click.option("--lr", type=Number(0, 1, min_open=True), help="Likewise: the peak learning rate."),
        click.option(
            "--fade",
            type=Number(0, 1),
            help="Share of all steps in which what is no digit grows from black (uses masks of the training set).",
        ),
        click.option("--digits", help="For data that are missing, as in `mnistref generate`.  [default: the preset's]"),
        click.option("--backgrounds", default="builtin", show_default=True, help="Likewise."),
        click.option(
            "--online", is_flag=True, help="Draw fresh training images for every epoch, by the set's own law."
        ),
        click.option(
            "--stream/--resident",
            default=None,
            help="Leave images on the disk, or load them whole.  [default: load what fits]",
        ),
        click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept."),
        click.option("--runs", type=FOLDER, help="Where runs are kept.  [default: ROOT/runs]"),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Of a run on a CPU.  [default: all; a sweep shares them]",
        ),
        click.option("--log", type=click.Choice(LOGS), help="Also write event files into the run's folder."),
        click.option(
            "--checkpoint-every",
            "every",
            type=Number(min=0),
            default=EVERY,
            show_default=True,
            metavar="SECONDS",
            help="Keep the training on the disk so often, beside after each epoch.",
        ),
    ],
)
