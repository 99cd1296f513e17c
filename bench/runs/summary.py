"""The result of a run for people: its numbers, each with a reference value."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from bench.attention import NONE
from bench.common.uniform_map import Relation, compare_with_chance, is_below_uniform
from bench.config import DEFAULT_BASELINE, EVALUATED, trained_network
from bench.data.question_blind import most_frequent_share, question_blind_accuracy
from bench.data.sets import read_manifest
from bench.evaluation.columns import (
    ACCURACY,
    MASK_CORRECTNESS,
    N_TEST,
    OVER_NONE,
    POINTING,
    RELATIVE_RUNTIME,
    TRAIN_STEP_MS,
    UNIFORM,
)
from bench.evaluation.picture_files import FOLDER, MAPS
from bench.evaluation.record_keys import OK
from bench.runs import records
from bench.runs.record_types import Result
from bench.tasks import TaskSpec
from mnistref.common.errors import DataProblemError, ProblemError
from mnistref.common.text_table import table
from mnistref.spec import VariantSpec

_PEAK_NOTE = (
    "The attention on the digit is above that of a uniform map, but the peak is on the digit less often than a random "
    "pixel:\nthe map covers the digit's surroundings, for example, or has its maximum on empty background."
)
_BLIND_NOTE = (
    "The accuracy is below the {blind} of an answer that ignores the question: the network has not learned to use the "
    "question."
)
_CONSTANT_NOTE = (
    "The accuracy is below the {blind} of always giving the most frequent {label}: the network has not learned."
)
_TRAINING_ADVICE = "\nLonger training (--epochs) or another learning rate (--lr) may help."


def describe_run(run: Path, data: Path) -> str:
    """Return a table of the measures of a finished run, and what each is compared with.

    The accuracy is compared with the most frequent answer in each image, or with the most frequent label if there is no
    question; and with the network without attention, if the same folder has a finished run of it on the same questions.
    Notes follow if the accuracy is below the former, or if the peak of the map is on the digit less often than its
    share of attention suggests.

    Args:
        run: the folder of the run.
        data: the folder of its data set.

    Raises:
        DataProblemError: the record or the data set is damaged.
    """
    result, variant = _read(run), read_manifest(data).variant
    find_reference = question_blind_accuracy if variant.asks else most_frequent_share
    reference = find_reference(data, result["queries"])
    units = "questions" if variant.asks else "images"
    heading = f"{result['attn']} on {data.name}: {result[N_TEST]:,} test {units}"
    rows = table([["measure", "value", "compare with"], *_rows(run, result, variant, reference)])
    return "\n".join([heading, rows, *_notes(result, variant, reference)])


def has_map(run: Path) -> bool:
    """Return whether the network of a finished run has attention maps, measured or not."""
    return _read(run).get(MASK_CORRECTNESS) is not None or (run / FOLDER / MAPS).is_file()


def _read(run: Path) -> Result:
    result = records.read_result(run)
    if result is None:
        raise DataProblemError(f"{run}: the run is not finished; run the same command again")
    return result


def _notes(result: Result, variant: VariantSpec, blind: float | None) -> Iterator[str]:
    """Yield what the numbers of a run mean, if that is not evident."""
    if blind is not None and result[ACCURACY] < blind:
        was_trained = result["recipe"] != EVALUATED.label
        note = _BLIND_NOTE if variant.asks else _CONSTANT_NOTE
        yield note.format(blind=_percent(blind), label=variant.label_noun) + _TRAINING_ADVICE * was_trained
    if _has_wide_map(result):
        yield _PEAK_NOTE


def _rows(run: Path, result: Result, variant: VariantSpec, blind: float | None) -> Iterator[list[str]]:
    yield ["accuracy", _percent(result[ACCURACY]), "; ".join(_compare_accuracy(run, result, variant, blind))]
    share, uniform = result.get(MASK_CORRECTNESS), result.get(UNIFORM)
    measure = f"attention on the {variant.target_noun}"
    if share is not None and uniform is not None:
        yield [measure, _percent(share), _compare_share(share, uniform)]
        peak = result.get(POINTING)
        if peak is not None:
            yield [
                f"peak of the map on the {variant.target_noun.split()[-1]}",
                _percent(peak),
                _compare_peak(peak, uniform),
            ]
    elif uniform is not None or not isinstance(variant, TaskSpec):  # a task may have no masks
        yield [measure, "–", "the network has no attention map"]
    milliseconds, over_none = result.get(TRAIN_STEP_MS), result.get(OVER_NONE)
    if milliseconds is not None:
        relative, baseline = (result.get(RELATIVE_RUNTIME), DEFAULT_BASELINE) if variant.asks else (over_none, NONE)
        versus = "" if relative is None or result["attn"] == baseline else f"{relative:.1f} × {baseline}"
        yield ["training step", f"{milliseconds:.3g} ms", versus]


def _compare_accuracy(run: Path, result: Result, variant: VariantSpec, blind: float | None) -> Iterator[str]:
    if blind is not None:
        yield f"most frequent {variant.label_noun}{' of each image' * variant.asks}: {_percent(blind)}"
    if result["attn"] == NONE:
        return
    without = _find_without_attention(run, result)
    if without is not None:
        yield f"without attention ({NONE}): {_percent(without)}"


def _find_without_attention(run: Path, result: Result) -> float | None:
    """Return the accuracy of the same network without attention on the same questions; None if there is no such run.

    A run with the same recipe is preferred, and among several one with the same seed.
    """
    found: dict[tuple[bool, bool], float] = {}
    for folder in sorted(run.parent.glob(f"{result['variant']}-*{NONE}-s*")):
        try:
            other = records.read_result(folder)
        except ProblemError:
            continue
        if other is None or other.get("status") != OK or other["attn"] != NONE:
            continue
        if _asked(other) == _asked(result):
            alike = other["recipe"] == result["recipe"], other["seed"] == result["seed"]
            found.setdefault(alike, other[ACCURACY])
    return found[max(found)] if found else None


def _asked(result: Result) -> tuple[str, str, str]:
    """Return data set, unit of queries and network around the mechanisms."""
    return result["dataset"]["spec_id"], result["queries"], trained_network(result["recipe"])


def _compare_share(share: float, uniform: float) -> str:
    """Return the share of a uniform map, and how a share relates to it."""
    relation = {
        Relation.EQUAL: "no better than uniform",
        Relation.BELOW: "below uniform: the attention avoids the digit",
        Relation.ABOVE: _multiple(share, uniform),
    }[compare_with_chance(share, uniform)]
    return f"uniform map: {_percent(uniform)}, {relation}"


def _compare_peak(peak: float, area: float) -> str:
    """Return how often a random pixel is on the digit, and how the share of peaks on it relates to that."""
    is_equal = compare_with_chance(peak, area) is Relation.EQUAL
    return f"random pixel: {_percent(area)}, {'no better than random' if is_equal else _multiple(peak, area)}"


def _multiple(share: float, chance: float) -> str:
    return f"{share / chance if chance else float('inf'):.1f} times as much"


def _has_wide_map(result: Result) -> bool:
    """Return whether the attention on the digit is above chance, and the peaks on it are below."""
    share, uniform = result.get(MASK_CORRECTNESS), result.get(UNIFORM)
    peak = result.get(POINTING)
    if share is None or uniform is None or peak is None:
        return False
    return compare_with_chance(share, uniform) is Relation.ABOVE and is_below_uniform(peak, uniform)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def suggest_commands(run: Path, picture: Path | None) -> str:
    """Return the picture of a run, if there is one, and the commands that show more: each slot, the board, the report.

    Args:
        run: the folder of the run, in a folder of runs.
        picture: the picture of its attention.
    """
    runs, default = run.parent, Path("data_cache/runs")
    where = "" if runs == default else f" --runs {shlex.quote(str(runs))}"
    rows = [
        *([["picture", str(picture)]] if picture else []),
        ["pictures", f"bench show {shlex.quote(str(run))}"],
        ["board", f"bench leaderboard{where}"],
        ["report", f"bench report{where} -o report.html"],
    ]
    return table(rows)
