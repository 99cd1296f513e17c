"""The charts of curves: precision against recall, and learning curves. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from bench.common.number_format import percent, share
from bench.evaluation.columns import PR_AREA, UNIFORM
from bench.evaluation.record_keys import OK, VAL_ACCURACY
from bench.report.chart_types import MIN_POINTS, Figure, Line, Mark, Panel, measured_paths
from bench.report.sections import BoardEntry, BoardSection, fraction, number
from bench.report.svg_layout import Frame, Point, share_axis, whole_number_axis
from bench.report.table import MISSING
from bench.runs.record_types import HistoryEntry, RunRecord

History = Sequence[HistoryEntry]
Curves = list[tuple[RunRecord, list[Point]]]
"""Runs with their curves."""
MAX_POINTS = 100
"""Maximal number of points of a curve."""
MAX_TABLE_EPOCHS = 10
"""Maximal number of epochs in the table of a learning curve."""
RECALLS = (0.1, 0.3, 0.5, 0.7, 0.9)


def precision_recall(section: BoardSection) -> Figure | None:
    """Return the chart of precision against recall of pixels, one line per seed; None if no run has a curve."""
    every = [(e, [_curve(run) for run in e.finished]) for e in section.entries]
    found = [(e, [curve for curve, _ in curves if curve]) for e, curves in every]
    odd = sum(left_out for _, curves in every for _, left_out in curves)
    shown = [(e, curves) for e, curves in found if curves]
    if not shown:
        return None
    most = max(value for _, curves in shown for curve in curves for _, value in curve)
    frame = Frame(share_axis([0.0, 1.0], "recall, %"), share_axis([0.0, most], "precision, %"))
    panels, rows = [], []
    for entry, curves in shown:
        area, uniform = number(entry.row.get(PR_AREA)), number(entry.row.get(UNIFORM))
        if area is None:
            areas = [value for run in entry.finished if (value := number(run.get(PR_AREA))) is not None]
            area = sum(areas) / len(areas) if areas else None
        lines = [Line(frame.path(_thinned(curve)), "measured") for curve in curves]
        level = [] if uniform is None else [Line(frame.path([(0.0, uniform), (1.0, uniform)]), "level")]
        note = "" if area is None else f"area {share(area)}"
        panels.append(Panel(entry.label, note, (*level, *lines)))
        at = [_mean(_precision(curve, recall) for curve in curves) for recall in RECALLS]
        rows.append((entry.label, *(MISSING if v is None else share(v) for v in (area, uniform)), *map(share, at)))
    heading = ("mechanism", "area", "uniform", *(f"precision at recall {r:g}" for r in RECALLS))
    return Figure(
        frame, tuple(panels), heading, tuple(rows), measured_paths(panels), note=_not_drawn(odd, "point", "points")
    )


def learning(section: BoardSection, histories: Mapping[str, History]) -> Figure | None:
    """Return the chart of validation and training accuracy per epoch; None if no run has two epochs."""
    found = [(entry, *_curves(entry, histories, VAL_ACCURACY)) for entry in section.entries]
    shown = [(entry, curves) for entry, curves, _ in found if curves]
    if not shown:
        return None
    short = tuple(entry.label for entry, curves, _ in found if not curves and _has_history(entry, histories))
    trained = [_curves(entry, histories, "train_accuracy") for entry, _ in shown]
    training = [next((curve for _, curve in curves), []) for curves, _ in trained]
    odd = sum(left_out for *_, left_out in found) + sum(left_out for _, left_out in trained)
    values = [value for _, curves in shown for _, curve in curves for _, value in curve]
    values += [value for curve in training for _, value in curve]
    most = max(int(curve[-1][0]) for _, curves in shown for _, curve in curves)
    frame = Frame(whole_number_axis(most, "epoch"), share_axis(values, "accuracy, %"))
    panels = [_learned(frame, e.label, curves, curve) for (e, curves), curve in zip(shown, training, strict=True)]
    table_epochs = sorted({1 + round(k * (most - 1) / (MAX_TABLE_EPOCHS - 1)) for k in range(MAX_TABLE_EPOCHS)})
    rows = []
    for entry, curves in shown:
        for run, curve in curves:
            at = dict(curve)
            words = (percent(at[epoch]) if epoch in at else MISSING for epoch in table_epochs)
            rows.append((entry.label, str(run["seed"]), run["status"], *words))
    heading = ("mechanism", "seed", "status", *(f"epoch {epoch}, %" for epoch in table_epochs))
    note = _not_drawn(odd, "accuracy", "accuracies")
    return Figure(frame, tuple(panels), heading, tuple(rows), measured_paths(panels), left_out=short, note=note)


def _not_drawn(odd: int, singular: str, plural: str) -> str:
    """Return a note on the number of values that are not drawn; "" if there are none."""
    if not odd:
        return ""
    named, they = (f"{odd} {singular} is", "it is") if odd == 1 else (f"{odd} {plural} are", "they are")
    return f"{named} not drawn, because {they} not in the range 0–1."


def _learned(frame: Frame, name: str, curves: Curves, trained: list[Point]) -> Panel:
    """Return the panel of an entry: the validation curve of each run, and one training curve.

    A cross marks the last epoch of a run that is not finished.
    """
    lines = [Line(frame.path(_thinned(trained)), "training")] if trained else []
    marks = []
    for run, curve in curves:
        lines.append(Line(frame.path(_thinned(curve)), "measured"))
        epoch, value = curve[-1]
        if run["status"] != OK:
            marks.append(
                Mark(
                    frame.at(epoch, value), "ended", f"seed {run['seed']}, status {run['status']}, last epoch {epoch:g}"
                )
            )
    best = max(value for _, curve in curves for _, value in curve)
    return Panel(name, f"best {percent(best)} %", tuple(lines), tuple(marks))


def _curves(entry: BoardEntry, histories: Mapping[str, History], name: str) -> tuple[Curves, int]:
    """Return the values of `name` per epoch for each run with two or more, and how many values are not in 0 … 1."""
    found: Curves = []
    odd = 0
    for run in entry.runs:
        lines = histories.get(run["run"], ())
        pairs = [(number(line.get("epoch")), fraction(line.get(name))) for line in lines]
        odd += sum(value is None and line.get(name) is not None for line, (_, value) in zip(lines, pairs, strict=True))
        curve = {e: v for e, v in pairs if e is not None and v is not None and 1 <= e <= 1e6}
        found += [(run, sorted(curve.items()))] if len(curve) >= MIN_POINTS else []
    return found, odd


def _has_history(entry: BoardEntry, histories: Mapping[str, History]) -> bool:
    """Return whether a run of an entry has a validation accuracy."""
    return any(
        fraction(line.get(VAL_ACCURACY)) is not None for run in entry.runs for line in histories.get(run["run"], ())
    )


def _curve(run: RunRecord) -> tuple[list[Point], int]:
    """Return points (recall, precision), recall ascending, and the number of points that are not in 0 … 1.

    The list is empty if there is no curve, or if it has fewer than two points.
    """
    curve = run.get("pr_curve")
    lists = [curve.get(name) for name in ("recall", "precision")] if isinstance(curve, dict) else []
    sound = [values for values in lists if isinstance(values, list)]
    if len(sound) != 2 or len(sound[0]) != len(sound[1]):
        return [], 0
    pairs = [(fraction(r), fraction(p)) for r, p in zip(*sound, strict=True)]
    known = [(r, p) for r, p in pairs if r is not None and p is not None]
    curve_points = sorted(known, key=lambda pair: pair[0]) if len(known) >= MIN_POINTS else []
    return curve_points, len(pairs) - len(known)


def _precision(curve: Sequence[Point], recall: float) -> float:
    """Return the precision at a recall: that of the first point with at least this recall."""
    return next((p for r, p in curve if r >= recall), curve[-1][1])


def _thinned(curve: Sequence[Point]) -> list[Point]:
    """Return at most `MAX_POINTS` points of a curve, including its ends."""
    if len(curve) <= MAX_POINTS:
        return list(curve)
    return [curve[round(k * (len(curve) - 1) / (MAX_POINTS - 1))] for k in range(MAX_POINTS)]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
