"""Values of the option groups of `bench`, and the specifications that result from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.config import DataOptions, Preset, Recipe, RecipeOverrides, choose_preset, choose_recipe

if TYPE_CHECKING:
    from bench.compute import ComputeConfig
    from bench.training.progress import ProgressOptions


@dataclass(frozen=True)
class RunOptions:
    """The network, the data and the initial weights of one run."""

    attn: str | None
    variant: str | None
    task: str | None
    data: Path | None
    seed: int
    init: Path | None


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how networks are computed."""

    device: str
    precision: str
    capture: str
    deterministic: bool

    @property
    def compute_config(self) -> "ComputeConfig":
        """The configuration of these options. An unsupported option is a usage error."""
        from bench.compute import resolve_compute

        return resolve_compute(self.device, self.precision, self.capture, self.deterministic)


@dataclass(frozen=True)
class TrainingOptions:
    """How networks are trained, where their data come from, and where runs are saved."""

    recipe_name: str | None
    preset_name: str | None
    train: int | None
    canvas: int | None
    queries: str
    architecture: str
    width: int | None
    epochs: int | None
    batch: int | None
    lr: float | None
    fade: float | None
    questions: int | str | None
    augment: str | None
    dropout: float | None
    digits: str | None
    backgrounds: str
    online: bool
    stream: bool | None
    root: Path
    runs: Path | None
    threads: int | None
    log: str | None
    checkpoint_seconds: float
    timing: bool

    def preset(self, variant: str | None) -> Preset:
        """Return the preset, with the number of training images that the user gave.

        Args:
            variant: the variant that the user gave, if any. Without a preset, it decides which one is used.
        """
        return choose_preset(self.preset_name, variant, self.train)

    def require_one_source(self, variant: str | None, task: str | None, data: object) -> None:
        """Raise a usage error if a variant, a task or a folder exclude each other or another option.

        Args:
            variant: the value of --variant.
            task: the value of --task.
            data: the value of --data, empty or None if it is not given.
        """
        given = [name for name, value in (("--data", data), ("--task", task), ("--variant", variant)) if value]
        if len(given) > 1:
            raise click.UsageError(f"give {given[0]} or {given[1]}, not both")
        if self.train and given and given[0] != "--variant":
            what = "an existing data set" if data else "a task"
            raise click.UsageError(f"give {given[0]} or --train, not both: {what} has its own size")
        sources = [f"--{name}" for name in ("digits", "backgrounds") if getattr(self, name) not in (None, "builtin")]
        if sources and (task or (data and not self.online)):
            raise click.UsageError(f"give {given[0]} or {sources[0]}, not both: its images are made already")
        if self.canvas and not task:
            raise click.UsageError(
                "--canvas is for --task; `mnistref generate --canvas` makes data sets of other sizes"
            )

    def recipe(self, preset: Preset) -> Recipe:
        """Return the recipe, with the values that the user gave. An unknown name is a usage error."""
        overrides = RecipeOverrides(
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            fade=self.fade,
            questions=self.questions,
            augment=self.augment,
            dropout=self.dropout,
        )
        return choose_recipe(preset, self.recipe_name, overrides)

    @property
    def data_options(self) -> DataOptions:
        """How data are loaded. The paths are absolute, because worker processes have other working directories."""
        folders = [
            str(Path(source).absolute()) if source and Path(source).is_dir() else None
            for source in (self.digits, self.backgrounds)
        ]
        return DataOptions(self.stream, str(self.root.absolute() / "raw"), *folders)

    @property
    def runs_folder(self) -> Path:
        """The folder that runs are saved in."""
        return self.runs or self.root / "runs"

    @property
    def progress_options(self) -> "ProgressOptions":
        """How progress is reported. A missing package is a usage error."""
        from bench.training.progress import ProgressOptions

        progress_options = ProgressOptions(self.log, self.checkpoint_seconds, self.timing)
        progress_options.require_packages()
        return progress_options

    def set_threads(self) -> None:
        """Set the number of threads of this process, if the user gave one."""
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class BoardOptions:
    """The runs that a board compares, and the network that it compares them with."""

    runs: Path
    variant: str | None
    baseline: str

    @property
    def variant_name(self) -> str | None:
        """The name of the variant or task; None for all. A name of neither is a usage error."""
        from bench.tasks.variant_names import is_task_variant
        from mnistref.variants import get_variant

        if self.variant is None or is_task_variant(self.variant):
            return self.variant
        return get_variant(self.variant).name

    @property
    def baseline_name(self) -> str:
        """The name of the baseline in the column `attn`. An unknown name is a usage error.

        A model that was trained elsewhere is named as in that column, with or without its digest.
        """
        from bench.attention import canonical_name
        from bench.runs.records import read_results, resolve_runs_folder
        from mnistref.common.errors import UsageProblemError

        try:
            return canonical_name(self.baseline)
        except UsageProblemError:
            recorded = {result["attn"] for result in read_results(resolve_runs_folder(self.runs))}
            named = [name for name in sorted(recorded) if self.baseline in (name, name.partition("#")[0])]
            if len(named) > 1:
                raise UsageProblemError(f"--baseline {self.baseline}: give one of {', '.join(named)}") from None
            if not named:
                raise
            return named[0]
