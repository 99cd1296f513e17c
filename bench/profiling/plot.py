"""Training steps of several networks as bars → a picture file. Imported only to draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise UsageProblemError("--plot needs matplotlib: pip install 'mnistref[report]'") from error

_BAR, _BASELINE = "#0072B2", "#999999"


def save_bars(title: str, rows: Sequence[dict[str, Any]], baselines: Sequence[str], path: Path) -> None:
    """A bar for each row of `benchmark`: milliseconds of its step with their quartiles, and the ratio to `san`."""
    figure = Figure(figsize=(8, 1.5 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    rows = sorted(rows, key=lambda row: row["train_step_ms"], reverse=True)
    length = [row["train_step_ms"] for row in rows]
    spread = [[abs(row["train_step_ms"] - row[f"train_step_ms_{end}"]) for row in rows] for end in ("q1", "q3")]
    colours = [_BASELINE if row["attn"] in baselines else _BAR for row in rows]
    axes.barh([row["attn"] for row in rows], length, xerr=spread, color=colours, ecolor="#222222", capsize=2.5)
    for k, row in enumerate(rows):
        text = f"  {length[k]:,.3g} ms, {row['over_san']:.2f} × san"
        axes.annotate(text, (row["train_step_ms_q3"], k), va="center", fontsize=9)
    axes.set_xlim(0, 1.4 * max(row["train_step_ms_q3"] for row in rows))
    axes.set_xlabel("milliseconds of a training step; lines: quartiles of the rounds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9, wrap=True)
    save_figure(figure, path)
