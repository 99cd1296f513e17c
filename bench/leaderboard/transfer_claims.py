"""The claims of LTPA Table 3, evaluated on transfers: which features separate the classes of other images. Pure.

Networks are compared, and claims are listed, as in `bench.leaderboard.network_claims`, over the images that their
features were tested on. Each image was tested once, by a classifier of the other folds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import cast

from bench.attention import canonical_name
from bench.leaderboard.claim_result import ClaimResult, ComparisonGroup, Place, Statement, evaluate, not_run
from bench.leaderboard.claims import Runs, pair_runs
from bench.leaderboard.network_claims import Entry, RunGroup, group_runs, recorded_label
from bench.leaderboard.published import find_published, name_of_task
from bench.runs.record_types import RunRecord
from bench.runs.transfer_record import TransferRecord

SOURCE, OTHER_IMAGES = "LTPA Table 3", "here to other images"
_TEXT = "features of VGG with attention separate other images better"
_ATTENTIVE = (Entry("vgg-att", "ltpa-pc:levels=2"), Entry("vgg-att", "ltpa-pc"))
_OTHERS = (
    Entry("vgg", "none"),
    Entry("vgg-gap", "none"),
    Entry("vgg-pan", "none,ltpa-pan"),
    Entry("resnet164", "none"),
)
TRANSFER_CLAIMS = tuple((better, worse) for worse in _OTHERS for better in _ATTENTIVE)
"""Pairs of networks; the features of the first one separate other images better."""
_Widths = dict[tuple[str, str], int]
"""(images, network) → width of the features."""


def evaluate_transfer_claims(
    results: Iterable[RunRecord], transfers: Mapping[str, TransferRecord]
) -> list[ClaimResult]:
    """Return the claims of all comparison groups about every set of images, see this module.

    Args:
        results: as for `bench.leaderboard.aggregate.build_board`.
        transfers: name of the run → its transfers.
    """
    claims: list[ClaimResult] = []
    tested = [result for result in results if result["run"] in transfers]
    answered = [cast(RunRecord, {**result, "answers": transfers[result["run"]].right}) for result in tested]
    widths = {
        (one["dataset"], label): one["features"]
        for result in answered
        for group in group_runs([result]).values()
        for label in group.runs
        for one in transfers[result["run"]].sets
    }
    for place, group in group_runs(answered).items():
        for images in sorted({name for seeds in group.runs.values() for arrays in seeds.values() for name in arrays}):
            claims += _claims_of(place, group, images, widths)
    return claims


def _claims_of(place: ComparisonGroup, group: RunGroup, images: str, widths: _Widths) -> Iterator[ClaimResult]:
    """Yield the claims about the features of a comparison group on one set of images."""
    runs: Runs = {}
    for label, seeds in group.runs.items():
        if tested := {seed: arrays for seed, arrays in seeds.items() if images in arrays}:
            runs[label] = tested
    for pair in TRANSFER_CLAIMS:
        recorded = recorded_label(pair[0]), recorded_label(pair[1])
        missing = [entry.label for entry, label in zip(pair, recorded, strict=True) if label not in runs]
        if len(missing) == len(pair):
            continue
        published = _published_difference(place[0], images, pair)
        source = f"{SOURCE}, {OTHER_IMAGES}" if math.isnan(published) else SOURCE
        labels = pair[0].label, pair[1].label
        statement = Statement(_TEXT, source, Place(place, tested=images), labels)
        if missing and not math.isnan(published):
            yield not_run(statement, " and ".join(missing), published)
        elif not missing and (found := pair_runs(runs, recorded, images)):
            note = " and ".join(
                f"{widths[images, name]:,} of {label}" for name, label in zip(recorded, labels, strict=True)
            )
            evaluated = evaluate(statement, found.difference, published)
            yield replace(evaluated, note=f"features: {note}; wider features are easier to separate")


def _published_difference(variant: str, images: str, pair: tuple[Entry, Entry]) -> float:
    """Return the difference of the published accuracies; NaN if there are none for these images.

    A folder of images has the name of the set, such as `folder-caltech101-0123456789ab` for `caltech101`.
    """
    metric = f"transfer_{name_of_task(images.rpartition('-')[0])}"
    better, worse = (
        find_published(variant, canonical_name(entry.attn), metric, network=entry.network) for entry in pair
    )
    return better.value - worse.value if better and worse else math.nan
