"""Configuration of a run, and presets. Pure.

A `RunConfig` is frozen, and its id contains the hash of its canonical JSON.
"""

import hashlib
import re
from dataclasses import asdict, dataclass, replace

from bench.recipes import (
    AUGMENTATIONS,
    EVALUATED,
    FIRST_RECIPES,
    MIN_BATCH,
    NO_OVERRIDES,
    RECIPES,
    Recipe,
    RecipeOverrides,
    get_recipe,
    is_integer,
    recipe_validity,
)
from mnistref.spec import UNITS, canonical_json
from mnistref.variants import FIRST_STEPS_DIGITS, FIRST_STEPS_SIZES

__all__ = [
    "AUGMENTATIONS",
    "EVALUATED",
    "FIRST_RECIPES",
    "MIN_BATCH",
    "NO_OVERRIDES",
    "RECIPES",
    "Recipe",
    "RecipeOverrides",
    "get_recipe",
]
"""Names of `bench.recipes` that are importable from here, too."""

PRECISIONS = ("fp32", "tf32", "bf16")
CAPTURES = ("eager", "graph")
"""How a training step runs: operation by operation, or as a recorded CUDA graph. `--capture` also accepts "auto"."""
DEVICES = ("auto", "cpu", "cuda")
LOGS = ("tensorboard",)
"""Formats of event files."""
DEFAULT_NETWORK, DEFAULT_WIDTH = "attribute", 32
"""The papers' network, see `bench.networks`, and the channels of each of its convolutions."""
MAX_WIDTH = 1024
MIN_CANVAS = 16
"""Side of the smallest images that every network can halve as often as it does, in pixels."""
CHECKPOINT_SECONDS = 60.0
"""Default interval of checkpoints within an epoch. There is also a checkpoint after each epoch."""
DEFAULT_BASELINE = "san"
"""Default network that others are compared with."""
TIMING_ROUNDS = 7
"""Default number of timing rounds. Each round times every network once."""
_ADDED_FIELDS = ("online", "deterministic", "width", "network")
"""Fields of `RunConfig` that were added later. Their default values are not part of a run's id."""


@dataclass(frozen=True)
class Preset:
    """Default values of `bench run` and `bench sweep`. `sizes` are the numbers of images in each split."""

    variant: str
    sizes: dict[str, int]
    digits: str
    recipe: Recipe


_FULL_SIZES = {"train": 30_000, "val": 10_000, "test": 10_000}
PRESETS = {
    "quick": Preset(
        "mini",
        FIRST_STEPS_SIZES,
        FIRST_STEPS_DIGITS,
        replace(RECIPES["fast"], batch=16, epochs=4),  # on small images, more steps help more than larger batches
    ),
    "small": Preset(
        "mbg", {"train": 10_000, "val": 1_000, "test": 4_000}, "mnist5k", replace(RECIPES["fast"], epochs=6)
    ),
    "full": Preset("mbg", _FULL_SIZES, "mnist", RECIPES["fast"]),
    "paper": Preset("mbg", _FULL_SIZES, "mnist", RECIPES["pan"]),
}
DEFAULT_PRESET = "full"


@dataclass(frozen=True)
class DataOptions:
    """How data are loaded. This changes no result and is not part of a run's id.

    Attributes:
        stream: True reads images from the disk during training, False loads them before it, None loads them if they
            fit into memory.
        raw: for online runs, the folder of downloaded sources, if there is none in the root of the data set.
        digits, backgrounds: for online runs, the folders of digits and photos that the data set was generated from.
    """

    stream: bool | None = None
    raw: str | None = None
    digits: str | None = None
    backgrounds: str | None = None


DEFAULT_DATA_OPTIONS = DataOptions()


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the result of a run.

    Attributes:
        attn: canonical name of the network, or the name of a tested model, see `bench.runs.user_models`.
        dataset: folder name of the data set, `<variant>-<spec_id>`.
        seed: seed of all randomness, 0 or more.
        queries: which questions of each split are used, see `mnistref.dataset.read_triples`. If a step has several
            questions about an image, "one" means "all" in training.
        precision, capture, deterministic: see `bench.compute.ComputeConfig`; `capture` is one of `CAPTURES`.
        device: "cpu" or "cuda".
        init: data set and training of the run whose weights this run starts from.
        init_weights: digest of these weights.
        online: whether each epoch has new images, see `bench.data.online`.
        width: scales the channels; in the default network, those of each convolution.
        network: name of the network around the mechanisms, see `bench.networks`.
    """

    attn: str
    variant: str
    dataset: str
    seed: int
    recipe: Recipe
    queries: str
    precision: str
    device: str
    capture: str = "eager"
    init: str | None = None
    init_weights: str | None = None
    online: bool = False
    deterministic: bool = False
    width: int = DEFAULT_WIDTH
    network: str = DEFAULT_NETWORK

    def as_dict(self) -> dict[str, object]:
        """Return the fields as JSON values. `_ADDED_FIELDS` with default values are omitted."""
        record = asdict(self) | {"recipe": self.recipe.as_dict()}
        return {
            key: value for key, value in record.items() if key not in _ADDED_FIELDS or value != getattr(RunConfig, key)
        }

    @classmethod
    def from_dict(cls, content: object) -> "RunConfig":
        """Return the configuration of a record that `as_dict` returned. `require_valid` checks its values.

        Raises:
            KeyError: the record has no recipe.
            TypeError: the record is not an object, or a field is missing or unknown.
        """
        if not isinstance(content, dict):
            raise TypeError(f"{type(content).__name__} instead of a configuration")
        return cls(**{**content, "recipe": Recipe(**content["recipe"])})

    def require_valid(self) -> None:
        """Raise an error unless the values have their types and ranges.

        Raises:
            ValueError: a value is invalid. The message is the name and the value.
        """
        recipe_checks = {} if self.recipe == EVALUATED else recipe_validity(self.recipe)
        for name, is_valid in (self._validity() | recipe_checks).items():
            if not is_valid:
                raise ValueError(f"{name}: {getattr(self, name, getattr(self.recipe, name, None))!r}")

    def _validity(self) -> dict[str, bool]:
        return {
            "variant": bool(re.fullmatch(r"\w[\w.-]*", str(self.variant))),
            "dataset": str(self.dataset).rpartition("-")[0] == self.variant,
            "queries": self.queries in UNITS,
            "online": type(self.online) is bool,
            "deterministic": type(self.deterministic) is bool,
            "device": self.device in DEVICES[1:],
            "precision": self.precision in PRECISIONS,
            "capture": self.capture in CAPTURES,
            "seed": is_integer(self.seed, 0, 2**31 - 1),
            "width": is_integer(self.width, 1, MAX_WIDTH),
            "network": bool(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(self.network))),
        }

    @property
    def training(self) -> str:
        """The recipe's label, fields that are not the default, and the training that the initial weights had."""
        parts = [self.recipe.label, *(name for name in ("online", "deterministic") if getattr(self, name))]
        if (self.network, self.width) != (DEFAULT_NETWORK, DEFAULT_WIDTH):
            parts += [f"network={self.network}"] * (self.network != DEFAULT_NETWORK) + [f"width={self.width}"]
        if self.init:
            parts.append(f"init=({self.init})")
        return ",".join(parts)

    @property
    def network_label(self) -> str:
        """The slot list, and the network around the mechanisms unless that is the default."""
        return self.attn if self.network == DEFAULT_NETWORK else f"{self.attn} in {self.network}"

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        digest = hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()[:12]
        attn = f"{self.network}-{self.attn}" if self.network != DEFAULT_NETWORK else self.attn
        attn = re.sub(r"[^\w.+=-]+", "-", attn.replace(",", "+"))
        return f"{self.variant}-{attn}-s{self.seed}-{digest}"


def training_stages(training: str) -> list[str]:
    """Return the stages of a label such as `RunConfig.training`, last stage first: all others name their data set."""
    return training.rstrip(")").split(",init=(")


def trained_network(training: str) -> str:
    """Return the network around the mechanisms that a label such as `RunConfig.training` names."""
    found = re.search(r",network=([^,]+)", training_stages(training)[0])
    return found[1] if found else DEFAULT_NETWORK


def choose_preset(name: str | None = None, variant: str | None = None, train: int | None = None) -> Preset:
    """Return the preset of that name; without a name, "quick" for its own variant, and otherwise `DEFAULT_PRESET`.

    Args:
        name: a key of `PRESETS`.
        variant: the variant that is used.
        train: number of training images, if it replaces that of the preset.
    """
    preset = PRESETS[name or ("quick" if variant == PRESETS["quick"].variant else DEFAULT_PRESET)]
    return replace(preset, sizes=preset.sizes | {"train": train}) if train else preset


def choose_recipe(preset: Preset, name: str | None = None, overrides: RecipeOverrides = NO_OVERRIDES) -> Recipe:
    """Return the recipe of that name, or else the preset's recipe, with the overrides applied.

    Raises:
        UsageProblemError: there is no such recipe.
    """
    recipe = get_recipe(name) if name else preset.recipe
    return replace(recipe, **{key: value for key, value in vars(overrides).items() if value is not None})
