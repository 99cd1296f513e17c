"""The claims of LTPA Figures 6 and 9, evaluated on records of attacks and of map methods. Pure.

Networks are compared, and claims are listed, as in `bench.leaderboard.network_claims`, image by image. A record has the
first test questions of a data set. If one has more questions than another one, the rest is left out.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar, cast

import numpy as np

from bench.attention import canonical_name
from bench.attribution.attack_names import ALL, FGSM
from bench.attribution.map_method import PREDICTION
from bench.attribution.measures import IOU
from bench.config import training_stages
from bench.leaderboard.claim_result import ClaimResult, ComparisonGroup, Place, Statement, evaluate, not_run
from bench.leaderboard.claims import Runs
from bench.leaderboard.network_claims import ATTENTIVE, ELSEWHERE, Entry, group_runs, recorded_label
from bench.leaderboard.paired_answers import Answers
from bench.leaderboard.published import find_published, name_of_task
from bench.leaderboard.question_columns import FOOLING
from bench.runs.attack_record import AttackRecord
from bench.runs.record_types import RunRecord
from bench.runs.saliency_record import SaliencyRecord

Record = TypeVar("Record", AttackRecord, SaliencyRecord)
FOOLING_SOURCE, MAP_SOURCE = "LTPA Figure 6", "LTPA Figure 9"
OTHER_MECHANISM = "here of another mechanism"
"""What the source of a claim says if the figure does not show the mechanism."""
_IN_FIGURE_6, _IN_FIGURE_9 = ("ltpa-pc:levels=2",), ("ltpa-pc:levels=2", "ltpa-pc")
_VGG, _GAP = Entry("vgg", "none"), Entry("vgg-gap", "none")
_FOOLING_TEXT = "VGG with attention is fooled less often by FGSM"
_MAP_TEXT = "attention segments better than class activation maps of VGG with average pooling"
_ATTENTION, _TWO_LEVELS, _CAM = "attention", "two-levels", "cam"


class _FigureClaim(NamedTuple):
    """The claim that the mean of the first array is above that of the second one.

    Attributes:
        compared: the two networks.
        arrays: for each of them, the name of the array.
        text: the claim in words.
        source: the figure, and how this comparison differs from it.
        metric: name of the measure.
        published: the difference of the published values; NaN if there are none.
        note: what a reader of the number should know.
    """

    compared: tuple[Entry, Entry]
    arrays: tuple[str, str]
    text: str
    source: str
    metric: str
    published: float
    note: str


def evaluate_attack_claims(results: Iterable[RunRecord], attacks: Mapping[str, AttackRecord]) -> list[ClaimResult]:
    """Return the claims of LTPA Figure 6: FGSM on all pixels fools a network with attention less often than `vgg`.

    The difference is the fooling rate of `vgg` minus that of the network with attention.

    Args:
        results: as for `bench.leaderboard.aggregate.build_board`.
        attacks: name of the run → its attacks.
    """
    claims: list[ClaimResult] = []
    for place, dataset, runs in _measured_groups(results, attacks, _find_fooled):
        norms = sorted({name for seeds in runs.values() for arrays in seeds.values() for name in arrays}, key=float)
        for norm in norms:
            claims += _evaluate_all(place, dataset, runs, _fooling_claims(place, dataset, norm))
    return claims


def evaluate_map_claims(results: Iterable[RunRecord], maps: Mapping[str, SaliencyRecord]) -> list[ClaimResult]:
    """Return the claims of LTPA Figure 9: attention segments better than the class activation maps of `vgg-gap`.

    The difference is that of the mean IoU of the mask and the pixels above Otsu's threshold, the Jaccard index.

    Args:
        results: as for `bench.leaderboard.aggregate.build_board`.
        maps: name of the run → the measures of its maps.
    """
    claims: list[ClaimResult] = []
    for place, dataset, runs in _measured_groups(results, maps, _find_overlaps):
        claims += _evaluate_all(place, dataset, runs, _map_claims(place))
    return claims


def _find_fooled(record: AttackRecord) -> Answers:
    """Return ε as text → whether FGSM on all pixels changes each answer."""
    return {
        f"{attack.norm:g}": values
        for attack, values in record.changed.items()
        if (attack.method, attack.region) == (FGSM, ALL)
    }


def _find_overlaps(record: SaliencyRecord) -> Answers:
    """Return map method → IoU of each question. Class activation maps are those of the network's answer.

    `attention` is that of the last two levels if they were measured. A network with two levels has no other map.
    """
    methods = (_ATTENTION, _CAM) if record.settings["explained"] == PREDICTION else (_ATTENTION,)
    tables = {method: record.measures[method] for method in methods if method in record.measures}
    overlaps = {method: measures[IOU] for method, measures in tables.items() if IOU in measures}
    if (two_levels := record.measures.get(_TWO_LEVELS)) and IOU in two_levels:
        overlaps[_ATTENTION] = two_levels[IOU]
    return overlaps


def _measured_groups(
    results: Iterable[RunRecord], records: Mapping[str, Record], find: Callable[[Record], Answers]
) -> Iterator[tuple[ComparisonGroup, str, Runs]]:
    """Yield each comparison group, the data set that its records are about, and the arrays of its runs there."""
    by_dataset: dict[str, list[RunRecord]] = {}
    for result in results:
        if record := records.get(result["run"]):
            measured = cast(RunRecord, {**result, "answers": find(record)})
            by_dataset.setdefault(record.settings["dataset"], []).append(measured)
    for dataset, measured_runs in sorted(by_dataset.items()):
        for place, group in group_runs(measured_runs).items():
            yield place, dataset, group.runs


def _fooling_claims(place: ComparisonGroup, dataset: str, norm: str) -> Iterator[_FigureClaim]:
    for entry in ATTENTIVE:
        published = math.nan
        if dataset == place[1]:
            published = _published_difference(place[0], (_VGG, entry), f"fooling_fgsm_{norm}")
        yield _FigureClaim(
            compared=(_VGG, entry),
            arrays=(norm, norm),
            text=f"{_FOOLING_TEXT}, ε = {norm}/255",
            source=_source(FOOLING_SOURCE, entry.attn in _IN_FIGURE_6, published),
            metric=FOOLING,
            published=published,
            note="differences of fooling rates are in points; LTPA gives ε without a unit",
        )


def _map_claims(place: ComparisonGroup) -> Iterator[_FigureClaim]:
    """Yield the claims about maps. LTPA prints values for the images of another set, by class."""
    with_masks = "; the networks were trained with --fade, which uses masks, and those of LTPA without masks"
    faded = any(",fade=" in stage for stage in training_stages(place[2]))
    for entry in ATTENTIVE:
        yield _FigureClaim(
            compared=(entry, _GAP),
            arrays=(_ATTENTION, _CAM),
            text=_MAP_TEXT,
            source=_source(MAP_SOURCE, entry.attn in _IN_FIGURE_9, math.nan),
            metric=IOU,
            published=math.nan,
            note="differences of IoU are in shares; the maps are thresholded by Otsu's method; attention is the map "
            f"two-levels, as in LTPA, if it was measured{with_masks * faded}",
        )


def _evaluate_all(
    place: ComparisonGroup, dataset: str, runs: Runs, claims: Iterable[_FigureClaim]
) -> Iterator[ClaimResult]:
    where = Place(place, tested=dataset * (dataset != place[1]))
    for claim in claims:
        first, second = (
            _values_of(runs, entry, name) for entry, name in zip(claim.compared, claim.arrays, strict=True)
        )
        labels = claim.compared[0].label, claim.compared[1].label
        missing = [label for label, found in zip(labels, (first, second), strict=True) if not found]
        statement = Statement(claim.text, claim.source, where, labels)
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            images = min(len(found[seed]) for found in (first, second) for seed in seeds)
            differences = np.stack([first[seed][:images] - second[seed][:images] for seed in seeds])
            result = evaluate(statement, differences, claim.published)
            note = f"{claim.note}; {claim.metric.replace('_', ' ')} over the first {images:,} test images of {dataset}"
        elif len(missing) == 1 and not math.isnan(claim.published):
            result, note = not_run(statement, missing[0], claim.published), claim.note
        else:
            continue
        yield replace(result, metric=claim.metric, note=note)


def _values_of(runs: Runs, entry: Entry, name: str) -> dict[int, np.ndarray]:
    """Return seed → an array of the runs of a network, f8 (T,)."""
    seeds = runs.get(recorded_label(entry), {})
    return {seed: arrays[name].astype(np.float64) for seed, arrays in seeds.items() if name in arrays}


def _published_difference(variant: str, compared: tuple[Entry, Entry], metric: str) -> float:
    """Return the difference of two published values; NaN if there are none."""
    first, second = (
        find_published(name_of_task(variant), canonical_name(entry.attn), metric, network=entry.network)
        for entry in compared
    )
    return first.value - second.value if first and second else math.nan


def _source(figure: str, is_shown: bool, published: float) -> str:
    """Return the figure, and how a comparison differs from it."""
    if not is_shown:
        return f"{figure}, {OTHER_MECHANISM}"
    return f"{figure}, {ELSEWHERE}" if math.isnan(published) else figure
