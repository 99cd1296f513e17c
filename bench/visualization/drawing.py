"""Draw panels into a picture file. Import this module only to draw: it needs matplotlib.

Lengths are in inches. The position of every box is computed, so that boxes do not overlap, and the same rows give the
same bytes.
"""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from bench.evaluation.panels import Panels
from mnistref.common.errors import UsageProblemError
from mnistref.common.figure_files import save_figure

try:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise UsageProblemError("a picture needs matplotlib: pip install matplotlib") from error

HEAT = "viridis"
_OUTLINE = "#FF00FF"  # as in the data set's preview
_RIGHT, _WRONG, _FAINT = "#007A55", "#B84700", "#555555"
_CELL, _GAP, _CAPTION, _HEADER, _ANSWER = 1.55, 0.1, 0.42, 0.26, 2.9
"""Sizes of the parts of a picture in inches."""
_LINE_INCHES = 0.19
_MIN_WIDTH_INCHES = 7.2  # room for the title
_CHARACTERS_PER_INCH = 13.5  # in a line of 9 points
_NAME_CHARACTERS = 20  # per line of a network's name


def draw(rows: Sequence[Panels], title: Sequence[str], notes: Sequence[str], path: Path) -> None:
    """Write the picture as PNG, SVG or PDF, depending on the suffix of `path`.

    Args:
        rows: the rows of the picture.
        title: lines above the rows.
        notes: paragraphs below the rows.
        path: the file.
    """
    save_figure(figure(rows, title, notes), path)


def figure(rows: Sequence[Panels], title: Sequence[str], notes: Sequence[str]) -> Figure:
    """Return a figure with one row of axes per row: the input, the slots' maps, their product, and the answer."""
    panels = 1 + len(rows[0].slots) + _has_product(rows[0])
    heights = [_CELL + (_GAP if row.sample < row.samples else _CAPTION) for row in rows]
    width, outlined = panels * (_CELL + _GAP) + _ANSWER, _name_outlined(rows)
    page, top = _new_page(width, _HEADER + sum(heights), title, notes, outlined)
    for k, row in enumerate(rows):
        _draw_row(page, row, top - _HEADER - sum(heights[:k]), first=k == 0)
    return page


def _name_outlined(rows: Sequence[Panels]) -> str:
    """Return the words for what the outlines of these rows enclose; "" if there are none."""
    if not any(row.has_target for row in rows):
        return ""
    if any(len(row.truth) > 1 for row in rows):
        return "the ink of all digits that give a right answer"
    return "the object" if rows[0].scale is None else "the digit"


def _new_page(
    width: float, height: float, title: Sequence[str], notes: Sequence[str], outlined: str
) -> tuple[Figure, float]:
    """Return a page with room for a body of this size between `title` and `notes`, and the upper edge of the body."""
    width = max(width + 2 * _GAP, _MIN_WIDTH_INCHES)
    name = _wrapped(title[:1], width, 1.4)  # bold
    head, foot = name + _wrapped(title[1:], width, 1.1), _wrapped(notes, width)
    below = height + _LINE_INCHES * (len(foot) + 1) + 2 * _GAP
    whole = 2 * _GAP + _LINE_INCHES * 1.15 * len(head) + below
    page = Figure(figsize=(width, whole), facecolor="white")
    for k, line in enumerate(head):
        at = (2 * _GAP / width, 1 - (2 * _GAP + _LINE_INCHES * 1.15 * k) / whole)
        page.text(*at, line, fontsize=10, va="top", weight="bold" if k < len(name) else "normal")
    _draw_legend(page, foot, outlined)
    return page, below


def draw_comparison(
    rows: Sequence[Sequence[Panels]],
    heads: Sequence[tuple[str, str]],
    title: Sequence[str],
    notes: Sequence[str],
    path: Path,
) -> None:
    """Write a picture of the answers of several networks to the same questions, see `comparison_figure`."""
    save_figure(comparison_figure(rows, heads, title, notes), path)


def comparison_figure(
    rows: Sequence[Sequence[Panels]], heads: Sequence[tuple[str, str]], title: Sequence[str], notes: Sequence[str]
) -> Figure:
    """Return a figure with a row of images and questions, and below it one row of products and answers per network.

    Args:
        rows: for each network, its answers.
        heads: name and accuracy of each network, written at the left.
        title: lines above the rows.
        notes: paragraphs below the rows.
    """
    names = [textwrap.wrap(name, _NAME_CHARACTERS) for name, _ in heads]
    left = max(len(line) for name in names for line in name) * 1.4 / _CHARACTERS_PER_INCH + 3 * _GAP
    height = (1 + len(rows)) * (_CELL + _CAPTION)
    width = left + len(rows[0]) * (_CELL + _GAP)
    page, top = _new_page(width, _GAP + height, title, notes, _name_outlined(rows[0]))
    across, up = page.get_size_inches()
    for i in range(1 + len(rows)):
        edge = top - _GAP - i * (_CELL + _CAPTION)
        lines = [*names[i - 1], heads[i - 1][1]] if i else []
        for k, line in enumerate(lines):
            style = "normal" if k == len(lines) - 1 else "bold"
            page.text(2 * _GAP / across, (edge - k * _LINE_INCHES) / up, line, fontsize=9, va="top", weight=style)
        for j, panels in enumerate(rows[max(0, i - 1)]):
            axes = _axes(page, (2 * _GAP + left + j * (_CELL + _GAP), edge - _CELL, _CELL, _CELL))
            _draw_product(axes, panels) if i else _draw_question(axes, panels)
    return page


def _draw_question(axes: Axes, panels: Panels) -> None:
    axes.imshow(panels.image.numpy(), vmin=0, vmax=1)
    _draw_outline(axes, panels.target)
    axes.text(0, -0.04, panels.question, fontsize=9, va="top", transform=axes.transAxes, weight="bold")
    truth = "/".join(panels.truth) + f", {100 * panels.area:.1f} %" * panels.has_target
    axes.text(0, -0.16, truth, fontsize=8, va="top", transform=axes.transAxes, color=_FAINT)


def _draw_product(axes: Axes, panels: Panels) -> None:
    if panels.product is not None:
        axes.imshow(panels.product.numpy(), vmin=0, vmax=1, cmap=HEAT)
        _draw_outline(axes, panels.target)
    else:
        _draw_no_map(axes, panels.fault)
    answer = f"{'✓' if panels.right else '✗'} {_answer_text(panels)}"
    color = _RIGHT if panels.right else _WRONG
    axes.text(0, -0.04, answer, fontsize=9, va="top", transform=axes.transAxes, color=color, weight="bold")
    if panels.correctness is not None:
        share = f"on the digit: {100 * panels.correctness:.1f} %"
        axes.text(0, -0.16, share, fontsize=8, va="top", transform=axes.transAxes, color=_FAINT)


def _draw_row(page: Figure, row: Panels, top: float, first: bool) -> None:
    """Draw a row. `top` is the distance of its panels' upper edge from the lower edge of the page."""
    columns = itertools.count()

    def axes(pixels: Tensor | None, header: str, fault: str = "", cmap: str | None = None) -> Axes:
        panel = _axes(page, (2 * _GAP + next(columns) * (_CELL + _GAP), top - _CELL, _CELL, _CELL))
        if pixels is None:
            _draw_no_map(panel, fault)
        else:
            panel.imshow(pixels.numpy(), vmin=0, vmax=1, cmap=cmap)
            _draw_outline(panel, row.target)
        if first:
            panel.set_title(header, fontsize=9, pad=4)
        return panel

    shown = axes(row.image, "input")
    if row.sample == row.samples:
        shown.text(0, -0.04, row.question, fontsize=9, va="top", transform=shown.transAxes, weight="bold")
        about = f"image {row.index}" + ("" if row.scale is None else f", digit's scale {row.scale:.2f}")
        shown.text(0, -0.16, about, fontsize=8, va="top", transform=shown.transAxes, color=_FAINT)
    drawn = None
    for slot in row.slots:
        name = f"slot {slot.slot}" if slot.slot else "map"
        drawn = axes(slot.map, f"{name}, {slot.size[0]}×{slot.size[1]}", slot.fault, cmap=HEAT)
        if slot.map is not None:
            _value_range(drawn, slot.low, slot.high)
    if _has_product(row):
        drawn = axes(row.product, "product", row.fault, cmap=HEAT)
    if drawn is not None and row.sample == row.samples:
        _colour_bar(drawn)
    _draw_answer(_axes(page, (2 * _GAP + next(columns) * (_CELL + _GAP), top - _CELL, _ANSWER, _CELL)), row)


def _has_product(row: Panels) -> bool:
    """Return whether the product is a panel. The map of a method, which has slot 0, is its own product."""
    return bool(row.slots) and row.slots[0].slot > 0


def _draw_no_map(axes: Axes, fault: str) -> None:
    """Write why there is no map: the network has none, or it cannot be measured."""
    text = f"map {fault}" if fault else "no map"
    axes.text(0.5, 0.5, text, fontsize=9, ha="center", transform=axes.transAxes, color=_FAINT)


def _axes(page: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Return axes without marks in a box in inches: left, bottom, width, height."""
    width, height = page.get_size_inches()
    axes = page.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    axes.set_axis_off()
    return axes


def _value_range(axes: Axes, low: float, high: float) -> None:
    """Write the range of a map's values; a uniform map has one value."""
    text = f"{low:.2g} … {high:.2g}" if f"{low:.2g}" != f"{high:.2g}" else f"{high:.2g} everywhere"
    on_dark = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.text(0.03, 0.03, text, fontsize=7, va="bottom", transform=axes.transAxes, color="white", bbox=on_dark)


def _colour_bar(axes: Axes) -> None:
    """Draw the colour scale below the product, or below the map of a method."""
    bar = axes.inset_axes((0.14, -0.12, 0.62, 0.07))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    bar.set_axis_off()
    for x, side, text in ((-0.06, "right", "0"), (1.06, "left", "max.")):
        bar.text(x, 0.5, text, fontsize=8, ha=side, va="center_baseline", transform=bar.transAxes, color=_FAINT)


def answer_lines(row: Panels) -> list[str]:
    """Return the answer as lines of text. The first line tells whether it is right."""
    which = f"sample {row.sample}: " if row.samples > 1 else ""
    lines = [f"✓ {which}right" if row.right else f"✗ {which}wrong"]
    lines.append(_answer_text(row) if row.prediction is None else f"says {_answer_text(row)}")
    lines.append(f"truth: {' or '.join(row.truth)}")
    if row.correctness is not None:
        several = len(row.shares) > 1
        lines.append(f"attention on the digit{'s' if several else ''}: {100 * row.correctness:.1f} %")
        if several:
            lines.append(", ".join(f"{name} {100 * share:.1f} %" for name, share in row.shares.items()))
        lines.append(f"(of a uniform map: {100 * row.area:.1f} %)")
    elif row.fault:
        lines.append(f"attention: the map is {row.fault}")
    return lines


def _answer_text(panels: Panels) -> str:
    """Return the answer with its probability."""
    if panels.prediction is None or panels.probability is None:
        return "no answer (not finite)"
    return f"{panels.prediction} ({100 * panels.probability:.0f} %)"


def _draw_answer(axes: Axes, row: Panels) -> None:
    verdict = _RIGHT if row.right else _WRONG
    for k, line in enumerate(answer_lines(row)):
        y = 0.97 - k * _LINE_INCHES / _CELL * 1.1
        color = verdict if k == 0 else _FAINT if line.startswith("(") else "black"
        weight = "bold" if k == 0 else "normal"
        axes.text(0.03, y, line, fontsize=9, va="top", transform=axes.transAxes, color=color, weight=weight)


def _draw_outline(axes: Axes, mask: Tensor) -> None:
    """Draw the edges of the pixels of a mask, bool (H, W)."""
    inside = np.pad(mask.numpy(), 1)
    below = np.argwhere(inside[1:, 1:-1] != inside[:-1, 1:-1])
    right = np.argwhere(inside[1:-1, 1:] != inside[1:-1, :-1])
    lines = [((x - 0.5, y - 0.5), (x + 0.5, y - 0.5)) for y, x in below.tolist()]
    lines += [((x - 0.5, y - 0.5), (x - 0.5, y + 0.5)) for y, x in right.tolist()]
    axes.add_collection(LineCollection(lines, colors=_OUTLINE, linewidths=0.9, capstyle="projecting"), autolim=False)


def _draw_legend(page: Figure, foot: Sequence[str], outlined: str) -> None:
    """Draw the legend of the outline and the notes at the foot of the page.

    Args:
        page: the page.
        foot: the lines of the notes.
        outlined: what is outlined; "" for nothing.
    """
    width, height = page.get_size_inches()
    key = Patch(facecolor="none", edgecolor=_OUTLINE)
    at = (2 * _GAP / width, (_GAP * 1.2 + _LINE_INCHES * (len(foot) + 1)) / height)
    page.legend(
        [key] if outlined else [],
        [f"outline of {outlined}"] if outlined else [],
        loc="upper left",
        bbox_to_anchor=at,
        frameon=False,
        fontsize=8.5,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
    )
    for k, line in enumerate(foot):
        y = (_GAP + _LINE_INCHES * (len(foot) - k)) / height
        page.text(2 * _GAP / width, y, line, fontsize=8.5, va="top", color=_FAINT)


def _wrapped(paragraphs: Sequence[str], width: float, size: float = 1.0) -> list[str]:
    """Return lines that fit the width of the page. `size` is the font size relative to 9 points."""
    characters = int((width - 4 * _GAP) * _CHARACTERS_PER_INCH / size)
    return [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, characters)]
