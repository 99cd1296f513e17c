"""The two charts of accuracies: over the time of a training step, and over scale bins. Pure."""

from collections.abc import Sequence

from bench.common.number_format import amount, percent, ratio
from bench.evaluation.columns import ACCURACY, RELATIVE_RUNTIME, SCALES, TRAIN_STEP_MS
from bench.report.chart_types import MIN_POINTS, Figure, Line, Mark, Panel, measured_paths
from bench.report.intervals import Rate, published_value, rate_at_scale, rate_of, values_and_bounds
from bench.report.sections import BoardSection, number
from bench.report.svg_layout import Axis, Frame, place_names, power_axis, share_axis
from bench.report.table import MISSING
from mnistref.spec import SCALE_BINS


def runtime(section: BoardSection) -> Figure | None:
    """Return the chart of accuracy against the time of a training step; None if fewer than two entries have both."""
    found = [(e, rate_of(e.row, ACCURACY), number(e.row.get(RELATIVE_RUNTIME))) for e in section.entries]
    shown = [(e, rate, time) for e, rate, time in found if rate and time and time > 0]
    if len(shown) < MIN_POINTS:
        return None
    papers = [(published_value(section, e, RELATIVE_RUNTIME), published_value(section, e, ACCURACY)) for e, *_ in shown]
    known = [(time, value) for time, value in papers if time is not None and value is not None]
    times = power_axis(
        [time for *_, time in shown] + [time for time, _ in known], "time of a training step, × san (logarithmic scale)"
    )
    values = [*values_and_bounds(rate for _, rate, _ in shown), *(value for _, value in known)]
    frame = Frame(
        x=times,
        y=share_axis(values, "accuracy, %"),
        width=680.0,
        height=360.0,
        left=44.0,
        right=12.0,
        top=12.0,
        bottom=44.0,
    )
    marks, lines, bars = [], [], []
    for (entry, rate, time), (paper_time, paper) in zip(shown, papers, strict=True):
        if paper is not None and paper_time is not None:
            text = f"{entry.label}, published: {percent(paper)} %, {ratio(paper_time)} × san"
            marks.append(Mark(frame.at(paper_time, paper), "published", text))
            lines.append(Line(frame.path([(time, rate.value), (paper_time, paper)]), "link"))
        marks.append(Mark(frame.at(time, rate.value), "measured", f"{entry.label}: {rate} %, {ratio(time)} × san"))
        bars += _bar(frame, time, rate)
    names = [(frame.at(time, rate.value), entry.label) for entry, rate, time in shown]
    occupied = [(x - 3, high, x + 3, low) for x, low, high in bars]
    occupied += [(x - 5, y - 5, x + 5, y + 5) for x, y in (m.at for m in marks if m.kind == "published")]
    rows = []
    for e, some, t in found:
        ms = number(e.row.get(TRAIN_STEP_MS))
        rows.append((e.label, str(some or MISSING), ratio(t) if t else MISSING, amount(ms) if ms else MISSING))
    return Figure(
        frame,
        (Panel("", "", tuple(lines), tuple(marks), tuple(bars)),),
        ("mechanism", "accuracy, % (95 % interval)", "step, × san", "step, ms"),
        tuple(rows),
        words=tuple(place_names(names, frame, occupied)),
        left_out=tuple(entry.label for entry, rate, time in found if not rate or not time),
    )


def scales(section: BoardSection) -> Figure | None:
    """Return the chart of accuracy per scale bin, with published curves; None if no entry has values in two bins."""
    measured = [k for k, name in enumerate(SCALES) if any(rate_at_scale(e, name) for e in section.entries)]
    found = [(e, [rate_at_scale(e, SCALES[k]) for k in measured]) for e in section.entries]
    shown = [(e, rates) for e, rates in found if sum(rate is not None for rate in rates) >= MIN_POINTS]
    if not shown:
        return None
    papers = [[published_value(section, e, SCALES[k]) for k in measured] for e, _ in shown]
    values = values_and_bounds(rate for _, rates in shown for rate in rates if rate)
    values += [value for line in papers for value in line if value is not None]
    bins = [f"{SCALE_BINS[k][0]:g}–{SCALE_BINS[k][1]:g}" for k in measured]
    axis = Axis(-0.4, len(bins) - 0.6, tuple((float(k), name) for k, name in enumerate(bins)), "scale of the digit")
    frame = Frame(axis, share_axis(values, "accuracy, %"))
    panels, rows, last = [], [], []
    for (entry, rates), line in zip(shown, papers, strict=True):
        rate = rate_of(entry.row, ACCURACY)
        panels.append(
            _over_scales(
                frame, bins, name=entry.label, note=f"{percent(rate.value)} %" if rate else "", rates=rates, papers=line
            )
        )
        rows.append((entry.label, *(str(rate or MISSING) for rate in rates)))
        if any(value is not None for value in line):
            words = (MISSING if value is None else percent(value) for value in line)
            last.append((f"{entry.label}, published", *words))
    heading = ("mechanism", *(f"scale {name}, %" for name in bins))
    left_out = tuple(e.label for e, rates in found if sum(rate is not None for rate in rates) == 1)
    return Figure(frame, tuple(panels), heading, (*rows, *last), measured_paths(panels), left_out=left_out)


def _over_scales(
    frame: Frame,
    bins: Sequence[str],
    name: str,
    note: str,
    rates: Sequence[Rate | None],
    papers: Sequence[float | None],
) -> Panel:
    """Return the panel of one mechanism over the bins, with the published values."""
    measured = [(k, rate) for k, rate in enumerate(rates) if rate]
    published = [(k, value) for k, value in enumerate(papers) if value is not None]
    marks = [Mark(frame.at(k, r.value), "measured", f"scale {bins[k]}: {r} %") for k, r in measured]
    marks += [Mark(frame.at(k, v), "published", f"scale {bins[k]}, published: {percent(v)} %") for k, v in published]
    lines = [Line(frame.path((k, rate.value) for k, rate in measured), "measured")]
    lines += [Line(frame.path(published), "published")] if published else []
    bars = tuple(bar for k, rate in measured for bar in _bar(frame, k, rate))
    return Panel(name, note, tuple(lines), tuple(marks), bars)


def _bar(frame: Frame, x: float, rate: Rate) -> list[tuple[float, float, float]]:
    if rate.low is None or rate.high is None:
        return []
    return [(frame.at(x, 0)[0], frame.at(x, rate.low)[1], frame.at(x, rate.high)[1])]
