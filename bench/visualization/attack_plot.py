"""The fooling rate over the norm of an attack, one line for each region. Import this module only to draw."""

from pathlib import Path

import pandas as pd

from bench.attribution.attack_names import METHODS, REGIONS
from bench.leaderboard.question_columns import AREA, FOOLING, IMAGES, METHOD, NORM, REGION, RUN
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise UsageProblemError("--plot needs matplotlib: pip install matplotlib") from error

_COLOURS = dict(zip(REGIONS, ("#222222", "#0072B2", "#D55E00", "#999999"), strict=True))
_MARKERS = dict(zip(REGIONS, "osD^", strict=True))


def save_fooling_rates(board: pd.DataFrame, path: Path) -> Figure:
    """Draw the fooling rates of one run, a panel for each method, with 95 % intervals.

    Args:
        board: the rows of one run, see `bench.leaderboard.attack_table.build_attack_table`.
        path: file of the figure; its ending gives the format.
    """
    methods = [method for method in METHODS if method in set(board[METHOD])]
    figure = Figure(figsize=(3.5 + 4 * len(methods), 4), layout="constrained")
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method in zip(panels, methods, strict=True):
        _draw_method(axes, board[board[METHOD] == method], method)
    panels[0].set_ylabel("answers that change, %; bars: 95 %")
    handles, labels = panels[0].get_legend_handles_labels()
    title = "attacked pixels,\nshare of the image"
    figure.legend(handles, labels, title=title, fontsize=8, title_fontsize=8, loc="outside right upper")
    figure.suptitle(f"{board.iloc[0][RUN]}, {board.iloc[0][IMAGES]:,} questions", fontsize=9, wrap=True)
    save_figure(figure, path)
    return figure


def _draw_method(axes: Axes, rows: pd.DataFrame, method: str) -> None:
    for region, points in rows.groupby(REGION, sort=False):
        rate = 100 * points[FOOLING]
        errors = [rate - 100 * points[f"{FOOLING}_lo"], 100 * points[f"{FOOLING}_hi"] - rate]
        label, colour = f"{region}, {points[AREA].iloc[0]:.3f}", _COLOURS[str(region)]
        axes.errorbar(
            points[NORM], rate, yerr=errors, label=label, color=colour, marker=_MARKERS[str(region)], ms=4, capsize=2.5
        )
    norms = sorted(set(rows[NORM]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(norms, [f"{norm:g}" for norm in norms])
    axes.set_ylim(-3, 103)
    axes.set_xlabel("ε, largest change of a pixel, 1/255")
    axes.set_title(method, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
