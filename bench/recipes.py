"""Recipes: how a network is trained. Pure."""

import math
from dataclasses import asdict, dataclass, fields, replace

from mnistref.common.errors import UsageProblemError, did_you_mean

OPTIMIZERS = ("adam", "rmsprop", "sgd")
SCHEDULES = ("onecycle", "steps", "milestones")
AUGMENTATIONS = ("none", "flip", "flip+crop")
"""Random changes of training images: `flip` mirrors half of them, `crop` shifts them by up to 4 pixels."""
MIN_BATCH = 2
"""Minimal batch of a step, because batch normalisation takes statistics over it."""
_ADDED_RECIPE_FIELDS = (
    "questions",
    "momentum",
    "nesterov",
    "weight_decay",
    "milestones",
    "factor",
    "augment",
    "dropout",
)
"""Fields of `Recipe` that were added later. Their default values are not part of a run's id."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: a key of `RECIPES`.
        optimizer: one of `OPTIMIZERS`.
        lr: peak learning rate, above 0 and at most 1.
        batch: number of images in a step, `MIN_BATCH` or more.
        epochs: maximal number of epochs.
        schedule: "onecycle" raises the learning rate to `lr` and lowers it to 0 over all steps; "steps" divides `lr` by
            1.5 at epoch 31 and every 12 epochs after that; "milestones" multiplies it by `factor` after each of the
            epochs `milestones`.
        patience: training stops after this many epochs without a better validation accuracy; None never stops it.
        clip: maximal norm of the gradient; None does not limit it.
        fade: share of all steps, 0 … 1, in which everything except the digits brightens from black to its full
            brightness. This uses the masks of the training set.
        questions: number of questions about each image in a step, or "one" or "all". With "one", a step has `batch`
            questions, each with its own image.
        momentum, nesterov: of "sgd". With the schedule "onecycle", the momentum goes from 0.95 to 0.85 and back to 0.95
            while the learning rate rises and falls (Smith, 2018); so does the first beta of "adam".
        weight_decay: factor of the weights that is added to their gradient; only of "sgd".
        milestones, factor: see `schedule`.
        augment: one of `AUGMENTATIONS`, for training images.
        dropout: probability of all dropout layers of the network, 0 … 1 without 1; None keeps those of the network.
    """

    name: str
    optimizer: str
    lr: float
    batch: int
    epochs: int
    schedule: str
    patience: int | None = None
    clip: float | None = 5.0
    fade: float = 0.0
    questions: int | str = "one"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float = 1.0
    augment: str = "none"
    dropout: float | None = None

    def __post_init__(self) -> None:
        """Make the milestones, which are a list in JSON, hashable."""
        if isinstance(self.milestones, list):
            object.__setattr__(self, "milestones", tuple(self.milestones))

    @property
    def label(self) -> str:
        """The name, followed by the fields that differ from the first version of the recipe.

        Labels in old records stay valid, because the first versions do not change.
        """
        if self == EVALUATED:
            return self.name
        initial = asdict(FIRST_RECIPES[self.name])
        changed = [f"{key}={value}" for key, value in asdict(self).items() if value != initial[key]]
        return ",".join([self.name, *changed])

    def max_questions(self, digits: int) -> int | None:
        """Return the maximal number of questions about an image in a step; None if each question has its own image.

        Args:
            digits: maximal number of digits in an image.
        """
        if isinstance(self.questions, int):
            return self.questions
        return digits if self.questions == "all" else None

    def as_dict(self) -> dict[str, object]:
        """Return the fields as JSON values. `_ADDED_RECIPE_FIELDS` with default values are omitted."""
        record = asdict(self) | {"milestones": list(self.milestones)}
        usual = {field.name for field in fields(self) if getattr(self, field.name) == field.default}
        return {key: value for key, value in record.items() if key not in usual.intersection(_ADDED_RECIPE_FIELDS)}


_LTPA_VGG = Recipe(
    "ltpa-vgg",
    "sgd",
    lr=1.0,
    batch=128,
    epochs=300,
    schedule="milestones",
    clip=None,
    momentum=0.9,
    weight_decay=5e-4,
    milestones=tuple(range(25, 300, 25)),
    factor=0.5,
    augment="flip",
)
_SHORT = replace(_LTPA_VGG, lr=0.1, batch=32, epochs=20, schedule="onecycle", nesterov=True, milestones=(), factor=1.0)
FIRST_RECIPES = {
    # PAN's program; ARNN: "identical" (SPEC of both: RMSProp α 0.9, ε 1e-6).
    "pan": Recipe("pan", "rmsprop", lr=0.003, batch=200, epochs=300, schedule="steps", patience=50),
    # Small batches matter more than many epochs: attention maps form after a number of steps, whatever the batch size.
    "fast": Recipe("fast", "adam", lr=0.003, batch=50, epochs=10, schedule="onecycle"),
    # The paper names no recipe for CIFAR-100. This one is usual for its networks (weight decay 5e-4, 200 epochs).
    "cbam-cifar": Recipe(
        "cbam-cifar",
        "sgd",
        lr=0.1,
        batch=128,
        epochs=200,
        schedule="milestones",
        clip=None,
        momentum=0.9,
        weight_decay=5e-4,
        milestones=(60, 120, 160),
        factor=0.2,
        augment="flip+crop",
    ),
    # LTPA §A.3. Its programs only mirror the images, and decay the learning rate by 1e-7 a step, which is left out.
    "ltpa-vgg": replace(_LTPA_VGG, name="ltpa-vgg"),
    "ltpa-vgg-svhn": replace(_LTPA_VGG, name="ltpa-vgg-svhn", lr=0.1),
    "ltpa-resnet": Recipe(
        "ltpa-resnet",
        "sgd",
        lr=0.1,
        batch=64,
        epochs=200,
        schedule="milestones",
        clip=None,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        milestones=(60, 120, 160),
        factor=0.2,
        augment="flip+crop",
    ),
    # Short versions, found with resnet18 and compared with others in vgg and resnet164, see docs/networks.md.
    "cbam-cifar-fast": replace(_SHORT, name="cbam-cifar-fast", augment="flip+crop"),
    "ltpa-vgg-fast": replace(_SHORT, name="ltpa-vgg-fast", augment="flip"),
    "ltpa-vgg-svhn-fast": replace(_SHORT, name="ltpa-vgg-svhn-fast", augment="flip"),
    "ltpa-resnet-fast": replace(_SHORT, name="ltpa-resnet-fast", augment="flip+crop"),
}
"""The first version of each recipe."""
RECIPES = FIRST_RECIPES | {
    "fast": Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle", questions="all"),
}

EVALUATED = Recipe("evaluated", "none", lr=0.0, batch=0, epochs=0, schedule="none")
"""The recipe of a network that was trained elsewhere, and only tested by `bench evaluate`."""


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UsageProblemError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UsageProblemError(f"unknown recipe {name!r}: {did_you_mean(name, list(RECIPES))}")
    return RECIPES[name]


@dataclass(frozen=True)
class RecipeOverrides:
    """Values that replace those of a recipe, see `Recipe`; None keeps the recipe's value."""

    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    fade: float | None = None
    questions: int | str | None = None
    augment: str | None = None
    dropout: float | None = None


NO_OVERRIDES = RecipeOverrides()


def recipe_validity(recipe: Recipe) -> dict[str, bool]:
    """Return for each field of a recipe, which may be damaged, whether its value is valid."""
    return {
        "name": recipe.name in tuple(RECIPES),  # a damaged record may hold a list, which cannot be a key
        "optimizer": recipe.optimizer in OPTIMIZERS,
        "schedule": recipe.schedule in SCHEDULES,
        "epochs": is_integer(recipe.epochs, 1),
        "batch": is_integer(recipe.batch, MIN_BATCH),
        "questions": recipe.questions in ("one", "all") or is_integer(recipe.questions, 1),
        "patience": recipe.patience is None or is_integer(recipe.patience, 1),
        "lr": is_number(recipe.lr) and 0 < recipe.lr <= 1,
        "fade": is_number(recipe.fade, 1),
        "clip": recipe.clip is None or (is_number(recipe.clip) and recipe.clip > 0),
        "momentum": is_number(recipe.momentum, 1) and recipe.momentum < 1,
        "nesterov": type(recipe.nesterov) is bool and (recipe.momentum > 0 or not recipe.nesterov),
        "weight_decay": is_number(recipe.weight_decay, 1),
        "milestones": isinstance(recipe.milestones, tuple) and all(is_integer(m, 1) for m in recipe.milestones),
        "factor": is_number(recipe.factor, 1) and recipe.factor > 0,
        "augment": recipe.augment in AUGMENTATIONS,
        "dropout": recipe.dropout is None or (is_number(recipe.dropout, 1) and recipe.dropout < 1),
    }


def is_integer(value: object, minimum: int, maximum: float = math.inf) -> bool:
    """Return whether a value is an integer in a range."""
    return type(value) is int and minimum <= value <= maximum


def is_number(value: float, maximum: float = 1e30) -> bool:
    """Return whether a value is a number from 0 to `maximum`, which NaN is not."""
    return type(value) in (int, float) and 0 <= value <= maximum
