"""A bar chart of the training steps of networks. This module needs matplotlib; import it only to draw."""

from collections.abc import Sequence
from pathlib import Path

from bench.profiling.benchmark import NetworkCost
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise UsageProblemError("--plot needs matplotlib: pip install matplotlib") from error

_BAR_COLOUR, _BASELINE_COLOUR = "#0072B2", "#999999"


def save_bars(title: str, costs: Sequence[NetworkCost], baselines: Sequence[str], path: Path) -> None:
    """Draw the milliseconds of each network's training step, with quartiles and the ratio to the first baseline.

    Args:
        title: title of the figure.
        costs: costs of the networks.
        baselines: names of the networks that others are compared with. They are drawn in grey.
        path: file of the figure; its ending gives the format.
    """
    figure = Figure(figsize=(8, 1.5 + 0.42 * len(costs)), layout="constrained")
    axes = figure.add_subplot()
    ordered = sorted(costs, key=lambda cost: cost.timing.step.median, reverse=True)
    medians = [cost.timing.step.median for cost in ordered]
    quartiles = [cost.timing.step.quartiles for cost in ordered]
    error_bars = [[abs(m - q[end]) for m, q in zip(medians, quartiles, strict=True)] for end in (0, 1)]
    colours = [_BASELINE_COLOUR if cost.attn in baselines else _BAR_COLOUR for cost in ordered]
    axes.barh([cost.attn for cost in ordered], medians, xerr=error_bars, color=colours, ecolor="#222222", capsize=2.5)
    for k, cost in enumerate(ordered):
        text = f"  {medians[k]:,.3g} ms, {cost.step_ratios[baselines[0]].median:.2f} × {baselines[0]}"
        axes.annotate(text, (quartiles[k][1], k), va="center", fontsize=9)
    axes.set_xlim(0, 1.4 * max(high for _, high in quartiles))
    axes.set_xlabel("milliseconds of a training step; lines: quartiles of the rounds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9, wrap=True)
    save_figure(figure, path)
