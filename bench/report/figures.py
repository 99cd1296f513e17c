"""A contest's four charts, each with the table that says the same in numbers: what to draw, not how. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard import SCALES
from bench.published import published
from bench.report.charts import Axis, Frame, Point, Word, place, powers, shares, whole
from bench.report.entries import Contest, Entry, number
from bench.report.table import MISSING, percent, ratio, share
from mnistref.spec import SCALE_BINS

History = Sequence[Mapping[str, Any]]
POINTS = 100
"""Of a curve, at most."""
EPOCHS = 10
"""Of a learning curve, at most, that its table tells."""
RECALLS = (0.1, 0.3, 0.5, 0.7, 0.9)


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
    """

    frame: Frame
    panels: tuple[Panel, ...]
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rate:
    """A share of right answers, with its 95 % interval where that is known. All in 0 … 1."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" ({percent(self.low)}–{percent(self.high)})"
        return percent(self.value) + interval


def runtime(contest: Contest) -> Figure | None:
    """Accuracy against the time of a training step; None where no entry has both."""
    found = [(e, _rate(e.row, "accuracy"), number(e.row.get("relative_runtime"))) for e in contest.entries]
    there = [(e, rate, time) for e, rate, time in found if rate and time and time > 0]
    if not there:
        return None
    papers = [(_printed(contest, e, "relative_runtime"), _printed(contest, e, "accuracy")) for e, *_ in there]
    printed = [(time, value) for time, value in papers if time is not None and value is not None]
    times = powers([time for *_, time in there] + [time for time, _ in printed], "training step, × san (logarithmic)")
    values = [*_ends(rate for _, rate, _ in there), *(value for _, value in printed)]
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
    rows = tuple(
        (e.label, str(r or MISSING), ratio(t) if t else MISSING, _number(e.row.get("train_step_ms")))
        for e, r, t in found
    )
    return Figure(
        frame,
        (Panel("", "", tuple(lines), tuple(marks), tuple(bars)),),
        ("mechanism", "accuracy, % (95 %)", "step, × san", "step, ms"),
        rows,
        words=tuple(place(names, frame, full)),
        left_out=tuple(entry.label for entry, rate, time in found if not rate or not time),
    )


def scales(contest: Contest) -> Figure | None:
    """Accuracy in each bin of the digit's scale, with the papers' curves; None where no entry has any."""
    measured = [k for k, name in enumerate(SCALES) if any(_at_scale(e, name) for e in contest.entries)]
    if not measured:
        return None
    names = [SCALES[k] for k in measured]
    found = [(e, [_at_scale(e, name) for name in names]) for e in contest.entries]
    there = [(e, rates) for e, rates in found if any(rates)]
    papers = [[_printed(contest, e, name) for name in names] for e, _ in there]
    values = _ends(rate for _, rates in there for rate in rates if rate)
    values += [value for line in papers for value in line if value is not None]
    bins = [f"{SCALE_BINS[k][0]:g}–{SCALE_BINS[k][1]:g}" for k in measured]
    axis = Axis(-0.4, len(bins) - 0.6, tuple((float(k), name) for k, name in enumerate(bins)), "scale of the digit")
    frame = Frame(axis, shares(values, "accuracy, %"))
    panels = []
    for (entry, rates), line in zip(there, papers, strict=True):
        own = [(float(k), rate) for k, rate in enumerate(rates) if rate]
        theirs = [(float(k), value) for k, value in enumerate(line) if value is not None]
        marks = [Mark(frame.at(k, r.value), "measured", f"scale {bins[int(k)]}: {r} %") for k, r in own]
        marks += [
            Mark(frame.at(k, v), "published", f"scale {bins[int(k)]}, published: {percent(v)} %") for k, v in theirs
        ]
        lines = [Line(frame.path((k, r.value) for k, r in own), "measured")]
        lines += [Line(frame.path(theirs), "published")] if theirs else []
        bars = tuple(bar for k, rate in own for bar in _bar(frame, k, rate))
        panels.append(Panel(entry.label, _accuracy(entry), tuple(lines), tuple(marks), bars))
    rows = [(e.label, *(str(rate or MISSING) for rate in rates)) for e, rates in there]
    rows += [
        (f"{e.label}, published", *(MISSING if v is None else percent(v) for v in line))
        for (e, _), line in zip(there, papers, strict=True)
        if any(v is not None for v in line)
    ]
    heading = ("mechanism", *(f"scale {name}, %" for name in bins))
    return Figure(frame, tuple(panels), heading, tuple(rows), _others(panels, "measured"))


def precision_recall(contest: Contest) -> Figure | None:
    """Precision against recall of the maps' pixels, each seed a line; None where no run has it."""
    found = [(e, [curve for run in e.finished if (curve := _curve(run))]) for e in contest.entries]
    there = [(e, curves) for e, curves in found if curves]
    if not there:
        return None
    most = max(value for _, curves in there for curve in curves for _, value in curve)
    frame = Frame(shares([0.0, 1.0], "recall, %"), shares([0.0, most], "precision, %"))
    panels, rows = [], []
    for entry, curves in there:
        area, uniform = number(entry.row.get("pr_area")), number(entry.row.get("mask_correctness_uniform"))
        if area is None:
            areas = [value for run in entry.finished if (value := number(run.get("pr_area"))) is not None]
            area = sum(areas) / len(areas) if areas else None
        lines = [Line(frame.path(_thinned(curve)), "measured") for curve in curves]
        level = [] if uniform is None else [Line(frame.path([(0.0, uniform), (1.0, uniform)]), "level")]
        note = "" if area is None else f"area {share(area)}"
        panels.append(Panel(entry.label, note, (*level, *lines)))
        at = [_mean(_precision(curve, recall) for curve in curves) for recall in RECALLS]
        rows.append((entry.label, *(MISSING if v is None else share(v) for v in (area, uniform)), *map(share, at)))
    heading = ("mechanism", "area", "uniform", *(f"precision at recall {r:g}" for r in RECALLS))
    return Figure(frame, tuple(panels), heading, tuple(rows), _others(panels, "measured"))


def learning(contest: Contest, histories: Mapping[str, History]) -> Figure | None:
    """Accuracy on the validation and the training split after each epoch; None where no run has a history."""
    found = [
        (e, [(run, curve) for run in e.runs if (curve := _epochs(histories, run, "val_accuracy"))])
        for e in contest.entries
    ]
    there = [(e, curves) for e, curves in found if curves]
    if not there:
        return None
    training = [
        next((c for run, _ in curves if (c := _epochs(histories, run, "train_accuracy"))), []) for _, curves in there
    ]
    values = [value for _, curves in there for _, curve in curves for _, value in curve]
    values += [value for curve in training for _, value in curve]
    most = max(int(curve[-1][0]) for _, curves in there for _, curve in curves)
    frame = Frame(whole(most, "epoch"), shares(values, "accuracy, %"))
    panels = []
    for (entry, curves), trained in zip(there, training, strict=True):
        lines = [Line(frame.path(_thinned(trained)), "training")] if trained else []
        lines += [Line(frame.path(_thinned(curve)), "measured") for _, curve in curves]
        marks = [
            Mark(frame.at(*curve[-1]), "ended", f"seed {run['seed']} {run['status']} after epoch {curve[-1][0]:g}")
            for run, curve in curves
            if run["status"] != "ok"
        ]
        marks += [
            Mark(frame.at(*c[0]), "measured", f"{percent(c[0][1])} %")
            for run, c in curves
            if len(c) == 1 and run["status"] == "ok"
        ]
        best = max(value for _, curve in curves for _, value in curve)
        panels.append(Panel(entry.label, f"best {percent(best)} %", tuple(lines), tuple(marks)))
    told = sorted({1 + round(k * (most - 1) / max(1, EPOCHS - 1)) for k in range(EPOCHS)})
    rows = [
        (e.label, str(run["seed"]), run["status"], *(percent(dict(c)[t]) if t in dict(c) else MISSING for t in told))
        for e, curves in there
        for run, c in curves
    ]
    heading = ("mechanism", "seed", "status", *(f"epoch {t}, %" for t in told))
    return Figure(frame, tuple(panels), heading, tuple(rows), _others(panels, "measured"))


def wilson(share: float, images: int) -> tuple[float, float]:
    """95 % bounds of a share of so many images, > 0 (Wilson 1927)."""
    z = 1.959964
    middle, scale = share + z * z / (2 * images), 1 + z * z / images
    reach = z * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _at_scale(entry: Entry, name: str) -> Rate | None:
    """The row's own interval, or else Wilson's over the images of all seeds."""
    rate = _rate(entry.row, name)
    if rate is None or rate.low is not None:
        return rate
    images = sum(number(run.get(name.replace("accuracy", "n", 1))) or 0.0 for run in entry.finished)
    return Rate(rate.value, *wilson(rate.value, int(images))) if images >= 1 and 0 <= rate.value <= 1 else rate


def _rate(row: Mapping[str, Any], name: str) -> Rate | None:
    value, low, high = (number(row.get(name + end)) for end in ("", "_lo", "_hi"))
    if value is None:
        return None
    return Rate(value, low, high) if low is not None and high is not None else Rate(value, None, None)


def _ends(rates: Iterable[Rate]) -> list[float]:
    return [end for rate in rates for end in (rate.low, rate.value, rate.high) if end is not None]


def _bar(frame: Frame, x: float, rate: Rate) -> list[tuple[float, float, float]]:
    if rate.low is None or rate.high is None:
        return []
    return [(frame.at(x, 0)[0], frame.at(x, rate.low)[1], frame.at(x, rate.high)[1])]


def _printed(contest: Contest, entry: Entry, measure: str) -> float | None:
    paper = published(contest.variant, str(entry.row["attn"]), measure)
    return paper.value if paper else None


def _curve(run: Mapping[str, Any]) -> list[Point]:
    """(recall, precision), recall ascending; [] where the record has none, or no such thing."""
    curve = run.get("pr_curve")
    lists = [curve.get(name) for name in ("recall", "precision")] if isinstance(curve, dict) else []
    sound = [values for values in lists if isinstance(values, list)]
    if len(sound) != 2 or len(sound[0]) != len(sound[1]):
        return []
    pairs = [(number(r), number(p)) for r, p in zip(*sound, strict=True)]
    return sorted((r, p) for r, p in pairs if r is not None and p is not None)


def _precision(curve: Sequence[Point], recall: float) -> float:
    """At a recall: of the first point that has as much."""
    return next((p for r, p in curve if r >= recall), curve[-1][1])


def _epochs(histories: Mapping[str, History], run: Mapping[str, Any], name: str) -> list[Point]:
    pairs = [(number(line.get("epoch")), number(line.get(name))) for line in histories.get(run["run"], ())]
    return sorted({e: v for e, v in pairs if e is not None and v is not None and 1 <= e <= 1e6}.items())


def _thinned(curve: Sequence[Point]) -> list[Point]:
    """At most `POINTS` of them, the ends among them."""
    if len(curve) <= POINTS:
        return list(curve)
    return [curve[round(k * (len(curve) - 1) / (POINTS - 1))] for k in range(POINTS)]


def _others(panels: Iterable[Panel], kind: str) -> tuple[str, ...]:
    return tuple(line.path for panel in panels for line in panel.lines if line.kind == kind)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _accuracy(entry: Entry) -> str:
    value = number(entry.row.get("accuracy"))
    return "" if value is None else f"{percent(value)} %"


def _number(value: Any) -> str:
    found = number(value)
    return MISSING if found is None else f"{found:,.0f}" if found >= 100 else f"{found:.3g}"
