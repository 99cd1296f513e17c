"""Plot the statistics of a data set: expected and measured shares. Imported only for plotting."""

import textwrap
from pathlib import Path

import numpy as np

from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure
from mnistref.inspection.statistics import LawCheck
from mnistref.storage.manifest import Manifest

try:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter
except ImportError as error:
    raise UsageProblemError("--plot needs matplotlib: pip install matplotlib") from error

PANELS = {
    "digits in an image": "share of images",
    "class": "share of digits",
    "colour": "share of digits",
    "scale": "share of digits",
    "canvas": "share of the canvas",
}
"""Quantity of a `ExpectedShare` → label of its axis, in the order of the panels."""

# Okabe and Ito's colours, which colour-blind readers can distinguish, and a marker shape for each split.
_MARKS = {"train": ("#0072B2", "o"), "val": ("#D55E00", "s"), "test": ("#009E73", "^")}
_NOTE_CHARACTERS = 115
"""Longest line of the note in the heading."""
_EXPECTED, _EDGE, _FAINT = "#DDDDDD", "#999999", "#555555"


def save_plot(laws: list[LawCheck], manifest: Manifest, path: Path) -> None:
    """Save a figure of the shares as PNG, SVG or PDF, depending on the suffix."""
    save_figure(_figure(laws, manifest), path)


def _figure(laws: list[LawCheck], manifest: Manifest) -> Figure:
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    note = f"{manifest.variant.name} is {manifest.variant.note}" if manifest.variant.note else ""
    note = "".join(f"\n{line}" for line in textwrap.wrap(note, _NOTE_CHARACTERS))
    sizes = ", ".join(f"{split} {manifest.images(split):,}" for split in manifest.splits)
    figure.suptitle(f"{manifest.folder_name}: expected and measured\nimages: {sizes}{note}", fontsize=12)
    grid = figure.add_gridspec(2, 12)
    places = (grid[0, :5], grid[0, 5:], grid[1, :5], grid[1, 5:10], grid[1, 10:])
    marks: list[Artist] = []
    for (of, what), place in zip(PANELS.items(), places, strict=True):
        axes = figure.add_subplot(place)
        _panel(axes, of, what, [law for law in laws if law.shares and law.shares[0].of == of])
        if axes.has_data():
            marks, names = axes.get_legend_handles_labels()
    figure.legend(
        [marks[-1], *marks[:-1]], [names[-1], *names[:-1]], loc="outside lower center", ncols=4, frameon=False
    )
    return figure


def _panel(axes: Axes, of: str, what: str, laws: list[LawCheck]) -> None:
    """Draw expected shares as bars and those of each split as markers; the title says whether the laws hold."""
    if not laws:  # unknown for a changed law
        axes.set_axis_off()
        axes.set_title(f"{of}: unknown", loc="left", fontsize=9, color=_FAINT)
        return
    splits = list(dict.fromkeys(law.split for law in laws))
    for k, split in enumerate(splits):
        shares = [share for law in laws if law.split == split for share in law.shares]
        at, (color, marker) = np.arange(len(shares)), _MARKS[split]
        if k == 0:
            axes.bar(at, [s.expected for s in shares], 0.8, color=_EXPECTED, edgecolor=_EDGE, label="expected")
            axes.set_xticks(at, [s.value for s in shares])
        beside = at + 0.22 * (k - (len(splits) - 1) / 2)
        axes.plot(beside, [s.measured for s in shares], marker, color=color, label=split, clip_on=False, zorder=3)
    axes.set_xlim(-0.7, len(at) - 0.3)
    axes.set_ylim(0, 1.1 * max(max(s.expected, s.measured) for law in laws for s in law.shares))
    axes.set_ylabel(what)
    axes.set_xlabel("" if of == "canvas" else of)
    axes.set_title(_verdict(laws), loc="left", fontsize=9, color=_FAINT)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.spines[["top", "right"]].set_visible(False)


def _verdict(laws: list[LawCheck]) -> str:
    broken = list(dict.fromkeys(law.split for law in laws if not law.holds))
    if broken:
        return f"DOES NOT HOLD in {', '.join(broken)}"
    p = [f"{law.p:.2f}" for law in laws if law.p is not None]
    return f"holds (p = {', '.join(p)})" if p else "holds"
