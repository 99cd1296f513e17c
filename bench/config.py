"""What a run is: frozen, pure, and named by the hash of its canonical JSON. Recipes and presets are listed here."""

import hashlib
import math
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from mnistref.common.errors import UsageProblemError, did_you_mean
from mnistref.spec import canonical_json

PRECISIONS = ("fp32", "tf32", "bf16")
CAPTURES = ("eager", "graph")
"""How a step of a run is issued; a user may leave it open by "auto"."""
OPTIMIZERS = ("adam", "rmsprop")
SCHEDULES = ("onecycle", "steps")
DEVICES = ("auto", "cpu", "cuda")
LOGS = ("tensorboard",)
WIDTH = 32
"""Channels of each convolution in the papers' network."""
WIDEST = 1024
EVERY = 60.0
"""Seconds after which a training is kept on the disk, beside after each epoch."""
LEAST_BATCH = 2
"""Questions in a step: batch normalisation takes its statistics over them."""
BASELINE = "san"
"""The network that others are compared with, unless the user names another."""
ROUNDS = 7
"""In which networks are timed turn by turn, unless the user says how many."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    `schedule`: "onecycle" rises to `lr` and falls to nothing over all steps; "steps" divides `lr` by 1.5 at epoch 31
    and every 12 epochs. `patience`: epochs without a better validation accuracy after which training stops. `fade`: the
    share of all steps over which what is no digit grows from black to its full brightness, which takes the masks of the
    training set.
    """

    name: str
    optimizer: str  # one of OPTIMIZERS
    lr: float
    batch: int
    epochs: int
    schedule: str
    patience: int | None = None
    clip: float = 5.0
    fade: float = 0.0
    questions: int | str = "one"  # of an image in a step: "one", "all", or so many

    @property
    def label(self) -> str:
        """The name, and what differs from the first recipe of that name: labels in records keep their meaning."""
        known = asdict(FIRST_RECIPES[self.name])
        changed = [f"{key}={value}" for key, value in asdict(self).items() if value != known[key]]
        return ",".join([self.name, *changed])

    def at_most(self, digits: int) -> int | None:
        """How many questions a step asks about an image of so many digits; None where each question has an image of its
        own."""
        if isinstance(self.questions, int):
            return self.questions
        return digits if self.questions == "all" else None

    def as_dict(self) -> dict[str, Any]:
        """Without `questions` where it is as before there was a choice: a run keeps its name."""
        return {key: value for key, value in asdict(self).items() if key != "questions" or value != "one"}


FIRST_RECIPES = {
    # PAN's program; ARNN: "identical" (SPEC of both: RMSProp α 0.9, ε 1e-6).
    "pan": Recipe("pan", "rmsprop", lr=0.003, batch=200, epochs=300, schedule="steps", patience=50),
    # Small batches matter more than epochs: maps form after so many steps, whatever their size.
    "fast": Recipe("fast", "adam", lr=0.003, batch=50, epochs=10, schedule="onecycle"),
}
"""As they were in version 0.1."""
RECIPES = FIRST_RECIPES | {
    "fast": Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle", questions="all"),
}


@dataclass(frozen=True)
class Preset:
    """What `bench run` does where the user leaves a choice open."""

    variant: str
    sizes: dict[str, int]
    digits: str
    recipe: Recipe


PRESETS = {
    "paper": Preset("mbg", {"train": 30_000, "val": 10_000, "test": 10_000}, "mnist", RECIPES["fast"]),
    "quick": Preset(
        "mini",
        {"train": 8_000, "val": 1_000, "test": 2_000},
        "mnist5k",
        replace(RECIPES["fast"], batch=16, epochs=4),  # small images: more steps are worth more than larger ones
    ),
}


@dataclass(frozen=True)
class DataOptions:
    """How data come to a network, which changes none of its numbers and has no part in a run's name.

    `stream`: leave images on the disk (True), or load them whole (False), or see whether they fit (None). For a run on
    fresh images: `raw`, where sources are kept if not beside the set, and the folders `digits` and `backgrounds`, where
    the set was made of such.
    """

    stream: bool | None = None
    raw: str | None = None
    digits: str | None = None
    backgrounds: str | None = None


DEFAULT_DATA_OPTIONS = DataOptions()


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's outcome. `dataset` is the data set's folder name, `<variant>-<spec_id>`."""

    attn: str
    variant: str
    dataset: str
    seed: int
    recipe: Recipe
    queries: str
    precision: str  # one of PRECISIONS
    device: str  # cpu | cuda
    capture: str = "eager"  # one of CAPTURES
    init: str | None = None  # variant and recipe of the run whose weights it starts from
    init_weights: str | None = None  # and their digest
    online: bool = False  # fresh images every epoch, see `bench.data.online`
    deterministic: bool = False  # see `bench.compute`
    width: int = WIDTH  # channels of each convolution

    def as_dict(self) -> dict[str, Any]:
        """Without `online`, `deterministic` and `width` where they are as before there was a choice: a run keeps its
        name."""
        later = ("online", "deterministic", "width")
        own = asdict(self) | {"recipe": self.recipe.as_dict()}
        return {key: value for key, value in own.items() if key not in later or value != getattr(RunConfig, key)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "RunConfig":
        """The inverse of `as_dict`. Raises KeyError or TypeError for what is none."""
        return cls(**{**content, "recipe": Recipe(**content["recipe"])})

    def check(self) -> None:
        """A ValueError that names the first value that no run can have, of whatever type it is."""
        recipe, known = self.recipe, {"name": tuple(RECIPES), "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
        good = {name: getattr(recipe, name) in allowed for name, allowed in known.items()}
        good |= {"device": self.device in DEVICES[1:], "precision": self.precision in PRECISIONS}
        good |= {"capture": self.capture in CAPTURES, "seed": _is_whole(self.seed, 0, 2**31 - 1)}
        good |= {"epochs": _is_whole(recipe.epochs, 1), "batch": _is_whole(recipe.batch, LEAST_BATCH)}
        good["questions"] = recipe.questions in ("one", "all") or _is_whole(recipe.questions, 1)
        good["width"] = _is_whole(self.width, 1, WIDEST)
        good["patience"] = recipe.patience is None or _is_whole(recipe.patience, 1)
        good |= {"lr": _is_number(recipe.lr) and 0 < recipe.lr <= 1, "fade": _is_number(recipe.fade, 1)}
        good["clip"] = _is_number(recipe.clip) and recipe.clip > 0
        for name, fits in good.items():
            if not fits:
                raise ValueError(f"{name}: {getattr(self, name, getattr(recipe, name, None))!r}")

    @property
    def training(self) -> str:
        """The recipe's label, whether on fresh images or deterministic, of another width than the papers', and what the
        weights had been trained on before, if on any."""
        ways = [name for name in ("online", "deterministic") if getattr(self, name)]
        ways += [f"width={self.width}"] * (self.width != WIDTH)
        return ",".join([self.recipe.label, *ways, *([f"init=({self.init})"] if self.init else [])])

    @property
    def run_id(self) -> str:
        digest = hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()[:12]
        attn = re.sub(r"[^\w.+=-]+", "-", self.attn.replace(",", "+"))
        return f"{self.variant}-{attn}-s{self.seed}-{digest}"


def stages(training: str) -> list[str]:
    """What `RunConfig.training` or `init` says: the last stage, and each that it begins with as data set,recipe."""
    return training.rstrip(")").split(",init=(")


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return type(value) is int and least <= value <= most


def _is_number(value: Any, most: float = 1e30) -> bool:
    """0 … `most`, which NaN is not."""
    return type(value) in (int, float) and 0 <= value <= most


def get_recipe(name: str) -> Recipe:
    """The recipe of that name; an unknown one is a usage error that lists the known."""
    if name not in RECIPES:
        raise UsageProblemError(f"unknown recipe {name!r}: {did_you_mean(name, list(RECIPES))}")
    return RECIPES[name]


def choose_recipe(
    preset: Preset,
    name: str | None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    fade: float | None = None,
    questions: int | str | None = None,
) -> Recipe:
    """The preset's recipe, or the named one instead, with what is given in place of its own."""
    recipe = get_recipe(name) if name else preset.recipe
    given = {"epochs": epochs, "batch": batch, "lr": lr, "fade": fade, "questions": questions}
    return replace(recipe, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
