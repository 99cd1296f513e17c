"""What the charts are made of, and the two that show accuracies: what to draw, not how. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.common.number_format import amount, percent, ratio
from bench.evaluation.metric_names import SCALES
from bench.report.groups import Contest, number
from bench.report.intervals import Rate, at_scale, ends, printed, rate_of
from bench.report.svg_layout import Axis, Frame, Point, Word, place, powers, shares
from bench.report.table import MISSING
from mnistref.spec import SCALE_BINS


@dataclass(frozen=True)
class Line:
    """A polyline; `kind` is how it looks: measured, published, link, training or level."""

    path: str
    kind: str


@dataclass(frozen=True)
class Mark:
    """A measured (disc), published (hollow diamond) or ended (cross) value; `text` says it in words."""

    at: Point
    kind: str
    text: str


@dataclass(frozen=True)
class Panel:
    """What one entry adds to the axes: `name`, a short `note`, lines, marks, intervals (x, y of both ends)."""

    name: str
    note: str
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    bars: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Figure:
    """Panels on one pair of axes; `others`: paths of all of them, drawn faintly behind each.

    `rows` below `heading` are the same as a table. `words`: names inside of the chart. `left_out`: who is not shown.
    `note`: how many numbers are not drawn, because they are not finite or out of range.
    """

    frame: Frame
    panels: tuple[Panel, ...]
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    left_out: tuple[str, ...] = ()
    note: str = ""


def runtime(contest: Contest) -> Figure | None:
    """Accuracy against the time of a training step; None where no entry has both."""
    found = [(e, rate_of(e.row, "accuracy"), number(e.row.get("relative_runtime"))) for e in contest.entries]
    there = [(e, rate, time) for e, rate, time in found if rate and time and time > 0]
    if not there:
        return None
    papers = [(printed(contest, e, "relative_runtime"), printed(contest, e, "accuracy")) for e, *_ in there]
    known = [(time, value) for time, value in papers if time is not None and value is not None]
    times = powers([time for *_, time in there] + [time for time, _ in known], "training step, × san (logarithmic)")
    values = [*ends(rate for _, rate, _ in there), *(value for _, value in known)]
    frame = Frame(times, shares(values, "accuracy, %"), 680.0, 360.0, 44.0, 12.0, 12.0, 44.0)
    marks, lines, bars = [], [], []
    for (entry, rate, time), (their_time, theirs) in zip(there, papers, strict=True):
        if theirs is not None and their_time is not None:
            words = f"{entry.label}, published: {percent(theirs)} %, {ratio(their_time)} × san"
            marks.append(Mark(frame.at(their_time, theirs), "published", words))
            lines.append(Line(frame.path([(time, rate.value), (their_time, theirs)]), "link"))
        marks.append(Mark(frame.at(time, rate.value), "measured", f"{entry.label}: {rate} %, {ratio(time)} × san"))
        bars += _bar(frame, time, rate)
    names = [(frame.at(time, rate.value), entry.label) for entry, rate, time in there]
    full = [(x - 3, high, x + 3, low) for x, low, high in bars]
    full += [(x - 5, y - 5, x + 5, y + 5) for x, y in (m.at for m in marks if m.kind == "published")]
    rows = []
    for e, some, t in found:
        ms = number(e.row.get("train_step_ms"))
        rows.append((e.label, str(some or MISSING), ratio(t) if t else MISSING, amount(ms) if ms else MISSING))
    return Figure(
        frame,
        (Panel("", "", tuple(lines), tuple(marks), tuple(bars)),),
        ("mechanism", "accuracy, % (95 %)", "step, × san", "step, ms"),
        tuple(rows),
        words=tuple(place(names, frame, full)),
        left_out=tuple(entry.label for entry, rate, time in found if not rate or not time),
    )


def scales(contest: Contest) -> Figure | None:
    """Accuracy in each bin of the digit's scale, with the papers' curves; None where no entry has any."""
    measured = [k for k, name in enumerate(SCALES) if any(at_scale(e, name) for e in contest.entries)]
    if not measured:
        return None
    found = [(e, [at_scale(e, SCALES[k]) for k in measured]) for e in contest.entries]
    there = [(e, rates) for e, rates in found if any(rates)]
    papers = [[printed(contest, e, SCALES[k]) for k in measured] for e, _ in there]
    values = ends(rate for _, rates in there for rate in rates if rate)
    values += [value for line in papers for value in line if value is not None]
    bins = [f"{SCALE_BINS[k][0]:g}–{SCALE_BINS[k][1]:g}" for k in measured]
    axis = Axis(-0.4, len(bins) - 0.6, tuple((float(k), name) for k, name in enumerate(bins)), "scale of the digit")
    frame = Frame(axis, shares(values, "accuracy, %"))
    panels, rows, last = [], [], []
    for (entry, rates), line in zip(there, papers, strict=True):
        rate = rate_of(entry.row, "accuracy")
        panels.append(_over_scales(frame, bins, entry.label, f"{percent(rate.value)} %" if rate else "", rates, line))
        rows.append((entry.label, *(str(rate or MISSING) for rate in rates)))
        if any(value is not None for value in line):
            words = (MISSING if value is None else percent(value) for value in line)
            last.append((f"{entry.label}, published", *words))
    heading = ("mechanism", *(f"scale {name}, %" for name in bins))
    return Figure(frame, tuple(panels), heading, (*rows, *last), others(panels))


def _over_scales(
    frame: Frame,
    bins: Sequence[str],
    name: str,
    note: str,
    rates: Sequence[Rate | None],
    papers: Sequence[float | None],
) -> Panel:
    """One mechanism's curve over the bins, and the papers' where they have one."""
    own = [(k, rate) for k, rate in enumerate(rates) if rate]
    theirs = [(k, value) for k, value in enumerate(papers) if value is not None]
    marks = [Mark(frame.at(k, r.value), "measured", f"scale {bins[k]}: {r} %") for k, r in own]
    marks += [Mark(frame.at(k, v), "published", f"scale {bins[k]}, published: {percent(v)} %") for k, v in theirs]
    lines = [Line(frame.path((k, rate.value) for k, rate in own), "measured")]
    lines += [Line(frame.path(theirs), "published")] if theirs else []
    return Panel(name, note, tuple(lines), tuple(marks), tuple(bar for k, rate in own for bar in _bar(frame, k, rate)))


def others(panels: Iterable[Panel]) -> tuple[str, ...]:
    """All measured lines, to be drawn faintly behind each panel."""
    return tuple(line.path for panel in panels for line in panel.lines if line.kind == "measured")


def _bar(frame: Frame, x: float, rate: Rate) -> list[tuple[float, float, float]]:
    if rate.low is None or rate.high is None:
        return []
    return [(frame.at(x, 0)[0], frame.at(x, rate.low)[1], frame.at(x, rate.high)[1])]
