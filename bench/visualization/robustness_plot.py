"""The measures of a network over the factor in which other data sets differ. Import this module only to draw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, UNIFORM
from bench.leaderboard.robustness_table import DATASET, DIFFERS, OWN, RUN, SPLIT
from bench.runs.other_sets import FACTOR_WORDS, describe_difference, factor_text
from bench.runs.robustness_record import RobustnessRecord
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise UsageProblemError("--plot needs matplotlib: pip install matplotlib") from error

_RANGES, _NUMBERS = ("scales", "digits_per_image"), ("canvas",)
_LABELS = {ACCURACY: "right answers, %", MASK_CORRECTNESS: "mask correctness"}
_COLOUR, _OWN_COLOUR = "#0072B2", "#D55E00"


def save_curve(record: RobustnessRecord, board: pd.DataFrame, path: Path) -> Figure:
    """Draw accuracy and mask correctness over the factor in which the data sets differ, with 95 % intervals.

    Scales, numbers of digits and canvases are drawn to scale, with a bar from the lowest to the highest value of a
    range. Any other factor, and several factors at once, are categories.

    Args:
        record: the tests.
        board: the rows of one run, see `bench.leaderboard.robustness_table.build_robustness_table`.
        path: file of the figure; its ending gives the format.
    """
    own, others = board[board[SPLIT] == OWN].iloc[0], board[board[SPLIT] != OWN].reset_index(drop=True)
    factors_of = {(tested["dataset"], tested["split"]): tested["factors"] for tested in record.settings["sets"]}
    factors: list[Mapping[str, object]] = [
        {**factors_of[dataset, split]} for dataset, split in zip(others[DATASET], others[SPLIT], strict=True)
    ]
    factor = find_factor(factors, {**record.settings["factors"]})
    measures = [name for name in _LABELS if others[name].notna().any()]
    figure = Figure(figsize=(1 + 4.5 * len(measures), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        _draw(axes, name, own, others, factor=factor, factors=factors)
    axes.legend(fontsize=8)
    figure.suptitle(_title(own, factors, {**record.settings["factors"]}, factor), fontsize=9, wrap=True)
    save_figure(figure, path)
    return figure


def find_factor(others: Sequence[Mapping[str, object]], own: Mapping[str, object]) -> str | None:
    """Return the one factor in which the data sets differ among each other, or a single one from `own`.

    Returns:
        A key of `FACTOR_WORDS`; None if there are several, or none.
    """
    compared = others if len(others) > 1 else [*others, own] if own else []
    varying = [name for name in FACTOR_WORDS if any(one.get(name) != compared[0].get(name) for one in compared[1:])]
    return varying[0] if len(varying) == 1 else None


def _draw(
    axes: Axes,
    name: str,
    own: pd.Series,
    others: pd.DataFrame,
    factor: str | None,
    factors: Sequence[Mapping[str, object]],
) -> None:
    """Draw one measure: a point for each data set, and a line for the run's own test set."""
    unit = 100 if name == ACCURACY else 1
    places, spreads = _places(factor, factors)
    order = np.argsort(places, kind="stable")
    rows = others.iloc[order]
    value = unit * rows[name].to_numpy()
    errors = [value - unit * rows[f"{name}_lo"].to_numpy(), unit * rows[f"{name}_hi"].to_numpy() - value]
    style: dict[str, Any] = {"marker": "o", "ms": 4, "capsize": 2.5, "color": _COLOUR}
    style |= {"xerr": spreads[order]} if spreads.any() else {}
    style |= {} if factor in (*_RANGES, *_NUMBERS) else {"linestyle": "none"}
    axes.errorbar(places[order], value, yerr=errors, label="other data sets", **style)
    axes.axhline(unit * own[name], color=_OWN_COLOUR, label="own test set", lw=1)
    axes.axhspan(unit * own[f"{name}_lo"], unit * own[f"{name}_hi"], color=_OWN_COLOUR, alpha=0.15, lw=0)
    if name == MASK_CORRECTNESS:
        axes.plot(places[order], rows[UNIFORM], ":", marker=".", color="#777777", label="uniform map")
    labels = [factor_text(one[factor]) for one in factors] if factor else [row[DIFFERS] for _, row in others.iterrows()]
    axes.set_xlabel(FACTOR_WORDS[factor] if factor else "")
    if factor in (*_RANGES, *_NUMBERS):
        axes.set_xticks(*unequal_ticks(places, labels))
    else:
        axes.set_xticks(places, labels, fontsize=7, rotation=20, ha="right")
        axes.margins(x=0.2)
    axes.set_ylabel(f"{_LABELS[name]}; bars: 95 %")
    axes.set_ylim(0, 103 if name == ACCURACY else None)
    axes.spines[["top", "right"]].set_visible(False)


def _places(factor: str | None, factors: Sequence[Mapping[str, object]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each data set on the axis, f8 (n,), and half the length of its range, f8 (n,)."""
    if factor in _RANGES:
        bounds = np.array([one[factor] for one in factors], dtype=np.float64)
        return bounds.mean(axis=1), np.diff(bounds, axis=1)[:, 0] / 2
    if factor in _NUMBERS:
        return np.array([one[factor] for one in factors], dtype=np.float64), np.zeros(len(factors))
    return np.arange(len(factors), dtype=np.float64), np.zeros(len(factors))


def unequal_ticks(places: np.ndarray, labels: Sequence[str]) -> tuple[list[float], list[str]]:
    """Return the places and labels of the ticks, from low to high; each place once, with all of its labels."""
    ticks: dict[float, list[str]] = {}
    for place, label in sorted(zip(places.tolist(), labels, strict=True)):
        names = ticks.setdefault(place, [])
        names += [label] * (label not in names)
    return list(ticks), ["\n".join(names) for names in ticks.values()]


def _title(
    own: pd.Series, factors: Sequence[Mapping[str, object]], base: Mapping[str, object], factor: str | None
) -> str:
    """Return the name of the run, and the factors in which all data sets differ from its own."""
    shared = {name: value for name, value in factors[0].items() if all(one[name] == value for one in factors)}
    fixed = describe_difference({**base, **shared}, {name: base[name] for name in base if name != factor})
    return f"{own[RUN]}" + (f"; the other data sets have {fixed}" if fixed and factor else "")
