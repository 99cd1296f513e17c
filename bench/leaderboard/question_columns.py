"""The columns of the tables of map methods, attacks, swapped questions and transfers, in their order. Pure."""

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd

from bench.attribution import measures, swap
from bench.common.number_format import amount, count, more, percent, scientific, share
from bench.evaluation.column import BOUNDS, SHARE_RANGE, Column, with_suffixes
from bench.evaluation.columns import ACCURACY, DATASET

RUN, METHOD, IMAGES = "run", "method", "images"
EXPLAINED_CLASS, SECONDS = "explained", "seconds_per_1000"
REGION, NORM, AREA = "region", "norm", "area"
FOOLING, ACCURACY_BEFORE = "fooling_rate", "accuracy_before"
CLASSES, FEATURES, DEVIATION = "classes", "features", "deviation"
MAPS_CHANGED, MAXIMAL_CHANGE, VERDICT = "maps_changed", "maximal_change", "verdict"

_share = partial(Column, number_format=share, value_range=SHARE_RANGE)
_rate = partial(Column, number_format=percent, value_range=SHARE_RANGE)
_RUN = Column(RUN, "Name of the run.")
_DATASET = Column(DATASET, "Folder name of the data set whose test questions were asked.")
_IMAGES = Column(IMAGES, "Number of test images.", count, integer=True)

MAP_COLUMNS = (
    _RUN,
    Column(METHOD, "Map method; `oracle` is the mask of the queried digit."),
    _DATASET,
    _IMAGES,
    Column(
        EXPLAINED_CLASS, "The class that is explained: the network's answer (`prediction`) or the right one (`label`)."
    ),
    _rate(ACCURACY, "Share of right answers."),
    *measures.MEASURES,
    *(
        _share(name, f"Share of the image that the {what} cover, which a uniform map scores.")
        for name, what in zip(
            measures.AREAS, ("queried digits", "other digits", "pixels of the background"), strict=True
        )
    ),
    Column(SECONDS, "Seconds for the maps of 1,000 questions, without their measures.", amount),
)
"""The columns of `maps.csv`."""

ATTACK_COLUMNS = (
    _RUN,
    _DATASET,
    _IMAGES,
    _rate(ACCURACY_BEFORE, "Share of right answers to the original images."),
    Column(METHOD, "The attack."),
    Column(REGION, "The pixels that the attack may change."),
    _share(AREA, "Share of the image that the region covers, the mean over the images."),
    Column(NORM, "ε, the largest change of a pixel in each colour channel, in 1/255.", amount),
    _rate(FOOLING, "Fooling rate: share of the questions whose answer changes.", higher_is_better=False, bounded=True),
    _rate(ACCURACY, "Share of right answers to the attacked images.", higher_is_better=True, bounded=True),
)
"""The columns of `attacks.csv`."""

_MASS_DOCS = (
    "Share of the map under question 1 that lies on its own digit.",
    "Share of the map under question 1 that lies on the digit of question 2.",
    "Share of the map under question 2 that lies on the digit of question 1.",
    "Share of the map under question 2 that lies on its own digit.",
)
_bounded = partial(_share, bounded=True)

SWAP_COLUMNS = (
    _RUN,
    _DATASET,
    _IMAGES,
    *map(_bounded, swap.MASSES, _MASS_DOCS),
    Column(
        swap.MOVED,
        "Mass that question 2 moves to its digit: `map2_on_digit2` − `map1_on_digit2`.",
        more,
        bounded=True,
        value_range=(-1.0, 1.0),
    ),
    _bounded(swap.TOTAL_VARIATION, "Half the sum of the absolute differences of the two maps; 1 if they are disjoint."),
    _bounded(swap.LARGEST_CHANGE, "Largest difference of the two maps, divided by the maximum of both."),
    _rate(
        MAPS_CHANGED,
        f"Share of the images with a `{swap.LARGEST_CHANGE}` of {swap.SAME_MAP:g} or more.",
        bounded=True,
    ),
    *(_rate(name, f"Share of right answers to question {k}.", bounded=True) for k, name in enumerate(swap.RIGHTS, 1)),
    *(
        _share(name, f"Share of the image that the digit of question {k} covers, which a uniform map scores.")
        for k, name in enumerate(swap.AREAS, 1)
    ),
    Column(MAXIMAL_CHANGE, f"Maximum of `{swap.LARGEST_CHANGE}` over all images.", scientific),
    Column(VERDICT, "Whether the map depends on the question, in words."),
)
"""The columns of `swaps.csv`."""

TRANSFER_COLUMNS = (
    _RUN,
    Column(DATASET, "Folder name of the prepared images."),
    Column(IMAGES, "Number of images.", count, integer=True),
    Column(CLASSES, "Number of classes.", count, integer=True),
    Column(FEATURES, "Width of the features. Wider features are easier to separate.", count, integer=True),
    _rate(
        ACCURACY,
        "Share of the images whose class a linear classifier of the other folds names.",
        higher_is_better=True,
        bounded=True,
    ),
    Column(DEVIATION, "Standard deviation of the accuracy over the folds.", percent),
)
"""The columns of `transfers.csv`."""


def column_names(columns: Iterable[Column]) -> list[str]:
    """Return the names of the columns of a table, each with those of its bounds."""
    return [name for column in columns for name in with_suffixes([column.name], BOUNDS if column.bounded else ())]


def format_with_bounds(row: pd.Series, name: str, number_format: Callable[[float], str]) -> str:
    """Return a number of a row with its bounds, such as "0.25 (0.2 … 0.3)"; without bounds if they are unknown."""
    low, high = (row[f"{name}{end}"] for end in BOUNDS)
    bounds = "" if pd.isna(low) else f" ({number_format(low)} … {number_format(high)})"
    return f"{number_format(row[name])}{bounds}"
