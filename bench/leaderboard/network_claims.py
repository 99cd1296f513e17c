"""The papers' claims about networks for natural images, evaluated on runs: ARNN Table 4; LTPA Tables 1 and 2. Pure.

Such a claim compares two networks, each with its own mechanism. Runs are compared if they have the same data set, unit
of queries and recipe, and the same width relative to the default of their network. The recipes of LTPA for VGGs and for
ResNet-164 count as one, because the paper compares these networks. On a data set for which the papers print values, a
claim is listed if one of its two networks was run. On other data sets, it is listed if both were run, and its source
says so.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bench.attention import canonical_name
from bench.config import training_stages
from bench.data.sets import variant_of_record
from bench.evaluation.columns import ACCURACY, ERROR, TOP5
from bench.evaluation.record_keys import OK, RIGHT, RIGHT5
from bench.leaderboard.claim_result import ClaimResult, ComparisonGroup, Place, Statement, evaluate, not_run
from bench.leaderboard.claims import Runs, pair_runs
from bench.leaderboard.published import PublishedValue, find_published, name_of_task
from bench.leaderboard.row_key import computing_text, row_key
from bench.networks import NETWORKS, resolve
from bench.runs.record_types import RunRecord
from mnistref.common.errors import UsageProblemError
from mnistref.spec import VariantSpec

ELSEWHERE = "here on another data set"
"""What the source of a claim says if the papers print no values for the data set."""
CONTROL = "vgg-late none"
"""The layers of `vgg-att` without attention: the control of equal compute, which the tables of LTPA lack."""
_OWN_RECIPES = {"vgg": "ltpa-vgg", "resnet164": "ltpa-resnet"}
"""Beginning of the name of a network → its recipe in LTPA."""
_NOT_FROM_A_PAPER = "not from a paper"
_PUBLISHED = {ACCURACY: ERROR, TOP5: "top5_error"}
"""Metric of a claim → the name of its published error, which is 1 − the metric."""
_ARRAYS = {ACCURACY: RIGHT, TOP5: RIGHT5}
"""Metric of a claim → the array of answers that it is the mean of."""


class Entry(NamedTuple):
    """A network and its mechanism, as users write them."""

    network: str
    attn: str

    @property
    def label(self) -> str:
        """The network and its mechanism as text."""
        return f"{self.network} {self.attn}"


@dataclass(frozen=True)
class NetworkClaim:
    """The claim that one network is better than another one.

    Attributes:
        better, worse: the two networks.
        text: the claim in words.
        source: where a paper states it.
        metrics: the metrics that the paper compares.
        stated: data set → difference of the accuracies that the text states, if no table has both values.
        note: how this comparison differs from the paper's; "" for no difference.
    """

    better: Entry
    worse: Entry
    text: str
    source: str
    metrics: tuple[str, ...] = (ACCURACY,)
    stated: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


_VGG, _LATE = Entry("vgg", "none"), Entry(*CONTROL.split())
_PAN, _GAP, _RN164 = Entry("vgg-pan", "none,ltpa-pan"), Entry("vgg-gap", "none"), Entry("resnet164", "none")
_DP, _DP2, _DP2_INDEP, _DP3, _PC, _PC2, _PC2_INDEP, _PC3 = (
    Entry("vgg-att", attn)
    for attn in (
        "ltpa-dp:levels=1",
        "ltpa-dp:levels=2",
        "ltpa-dp:head=indep:levels=2",
        "ltpa-dp",
        "ltpa-pc:levels=1",
        "ltpa-pc:levels=2",
        "ltpa-pc:head=indep:levels=2",
        "ltpa-pc",
    )
)
_IN_TABLE_1 = (_DP, _DP2, _DP2_INDEP, _PC, _PC2, _PC2_INDEP, _PC3)
ATTENTIVE = (*_IN_TABLE_1, _DP3)
"""LTPA's networks with attention, and the dot product in three levels, which is not in the paper."""


_ATTENTION_HELPS = "VGG with attention is better than VGG"


def _ltpa(better: Entry, worse: Entry, text: str) -> NetworkClaim:
    return NetworkClaim(better, worse, text, "LTPA Table 1")


_OWN_CBAM, _OWN_CBAM_ARNN = "cbam:bias=true:norm=true:reduction=16", "cbam-arnn:bias=true:reduction=16"
PUBLISHED_AS = {_OWN_CBAM: "cbam", _OWN_CBAM_ARNN: "cbam-arnn"}
"""Mechanism with the options of CBAM's own program → the one that has the published values. Claims about the former are
listed only if both networks were run."""


def _table_4(better: str, worse: str, text: str) -> NetworkClaim:
    return NetworkClaim(Entry("resnet18", better), Entry("resnet18", worse), text, "ARNN Table 4", (ACCURACY, TOP5))


NETWORK_CLAIMS = (
    *(_table_4(cbam, "none", "CBAM helps ResNet-18") for cbam in ("cbam", _OWN_CBAM)),
    *(
        _table_4(better, worse, "structured attention helps CBAM")
        for better, worse in (("cbam-arnn", "cbam"), (_OWN_CBAM_ARNN, _OWN_CBAM))
    ),
    *(_ltpa(entry, _VGG, _ATTENTION_HELPS) for entry in _IN_TABLE_1),
    *(_ltpa(*pair, "attention in two levels is better than in one") for pair in ((_DP2, _DP), (_PC2, _PC))),
    _ltpa(_PC3, _PC2, "attention in three levels is better than in two"),
    *(
        _ltpa(*pair, "one classifier of both levels is better than one of each")
        for pair in ((_DP2, _DP2_INDEP), (_PC2, _PC2_INDEP))
    ),
    *(
        _ltpa(*pair, "the parametrised compatibility is better than the dot product")
        for pair in ((_PC, _DP), (_PC2_INDEP, _DP2_INDEP), (_PC2, _DP2))
    ),
    _ltpa(_PAN, _VGG, "VGG with progressive attention is better than VGG"),
    *(_ltpa(entry, _PAN, "VGG with attention is better than progressive attention") for entry in (_PC2, _PC3)),
    *(_ltpa(entry, _GAP, "VGG with attention is better than VGG with average pooling") for entry in (_PC2, _PC3)),
    *(_ltpa(entry, _RN164, "VGG with attention is better than ResNet-164") for entry in (_PC2, _PC3)),
    NetworkClaim(
        _RN164,
        Entry("resnet164", _PC2.attn),
        "ResNet-164 is better without attention",
        "LTPA §5.1",
        stated={"cifar10": 0.009, "cifar100": 0.015},
        note=f"resnet164 {_PC2.attn}: the classifier is one linear layer; in the program of LTPA's authors, BatchNorm, "
        "ReLU and dropout of 0.3 precede it",
    ),
)
"""The claims of the papers. `CONTROLS`, which are of no paper, are listed only if `vgg-late` was run."""
CONTROLS = (
    NetworkClaim(_DP3, _VGG, _ATTENTION_HELPS, _NOT_FROM_A_PAPER),
    NetworkClaim(_LATE, _VGG, "late pooling without attention is better than VGG", _NOT_FROM_A_PAPER),
    *(
        NetworkClaim(entry, _LATE, "attention helps the network with late pooling", _NOT_FROM_A_PAPER)
        for entry in ATTENTIVE
    ),
)


@dataclass
class RunGroup:
    """The runs of a comparison group by the label of their network.

    Attributes:
        ratio: their width divided by the default of their network.
        variant: the variant or task; None if the records do not say how it is made.
        runs: their answers.
    """

    ratio: float
    variant: VariantSpec | None
    runs: Runs = field(default_factory=dict)

    def count(self, entry: Entry) -> int | None:
        """Return how often a network of this group multiplies for one image; None if that is not known."""
        from bench.profiling.multiplications import count_multiplications

        if self.variant is None:
            return None
        width = round(self.ratio * NETWORKS[entry.network].width)
        size = (self.variant.canvas, self.variant.canvas)
        network = resolve(entry.attn, width, entry.network)
        return count_multiplications(network, self.variant.classes, self.variant.queries, size)


def evaluate_network_claims(results: Iterable[RunRecord]) -> list[ClaimResult]:
    """Return the claims of all comparison groups, see this module.

    Args:
        results: as for `bench.leaderboard.aggregate.build_board`.
    """
    return [claim for place, group in group_runs(results).items() for claim in _claims_of(place, group)]


def group_runs(results: Iterable[RunRecord]) -> dict[ComparisonGroup, RunGroup]:
    """Return the finished runs of networks other than the default, in their comparison groups."""
    groups: dict[ComparisonGroup, RunGroup] = {}
    for result in results:
        answers, trained = result.get("answers"), _split_recipe(result["recipe"])
        if result["status"] != OK or answers is None or trained is None:
            continue
        network, ratio, recipe = trained
        key = row_key(result)
        place = ComparisonGroup(key["variant"], key["dataset"], recipe, key["queries"], computing_text(result))
        group = groups.setdefault(place, RunGroup(ratio, _find_variant(result)))
        group.runs.setdefault(Entry(network, key["attn"]).label, {}).setdefault(result["seed"], answers)
    return dict(sorted(groups.items()))


def _split_recipe(recipe: str) -> tuple[str, float, str] | None:
    """Return network, width divided by its default, and the label of the training without network and width.

    A width that is not the default stays in the label, as its ratio to the default. None for the default network, and
    for networks that are not in the registry.
    """
    found = re.search(r",network=([^,]+),width=(\d+)", training_stages(recipe)[0])
    if found is None or found[1] not in NETWORKS:
        return None
    ratio = int(found[2]) / NETWORKS[found[1]].width
    label = re.sub(r",network=[^,]+,width=\d+", "", recipe)
    for beginning, own in _OWN_RECIPES.items():
        if found[1].startswith(beginning):
            label = re.sub(rf"^{own}(?=-fast|,|$)", "ltpa-vgg/resnet", label)
    return found[1], ratio, label if ratio == 1 else f"{label}, {ratio:g} of the default width"


def _find_variant(result: RunRecord) -> VariantSpec | None:
    """Return the variant or task of a run; None if its record does not say it."""
    request = result.get("request")
    try:
        return variant_of_record(request, result["variant"]) if request else None
    except UsageProblemError:
        return None


def _claims_of(place: ComparisonGroup, group: RunGroup) -> Iterator[ClaimResult]:
    for claim in NETWORK_CLAIMS + CONTROLS * (CONTROL in group.runs):
        recorded = recorded_label(claim.better), recorded_label(claim.worse)
        missing = [
            entry.label
            for entry, label in zip((claim.better, claim.worse), recorded, strict=True)
            if label not in group.runs
        ]
        if len(missing) == len(recorded):
            continue
        for metric in claim.metrics:
            published = _published_difference(place[0], claim, metric)
            statement = Statement(
                claim.text,
                _source(place[0], claim, published),
                Place(place),
                (claim.better.label, claim.worse.label),
            )
            if missing and (math.isnan(published) or claim.better.attn in PUBLISHED_AS):
                continue  # the papers do not make this claim about the data set
            if missing:
                result = not_run(statement, " and ".join(missing), published)
            elif found := pair_runs(group.runs, recorded, _ARRAYS[metric]):
                result = evaluate(statement, found.difference, published, images=found.images)
            else:
                continue  # no common seed, or five classes or fewer
            multiplications = group.count(claim.better), group.count(claim.worse)
            note = _control_note(place[1], CONTROL in group.runs) if claim.worse == _VGG else claim.note
            yield replace(result, metric=metric, multiplications=multiplications, note=note)


def _control_note(dataset: str, is_run: bool) -> str:
    """Return how to tell the effect of attention from that of late pooling, which costs more compute than VGG."""
    state = "was run" if is_run else "was not run"
    return f"{dataset}: {CONTROL} {state}; it is the control of equal compute: the layers of vgg-att without attention"


def recorded_label(entry: Entry) -> str:
    """Return the label of an entry with the name of its mechanism in records."""
    return Entry(entry.network, canonical_name(entry.attn)).label


def _find_published(variant: str, entry: Entry, metric: str) -> PublishedValue | None:
    """Return the published value of a network; None if there is none. A folder has the name of the paper's data set."""
    attn = PUBLISHED_AS.get(entry.attn, entry.attn)
    return find_published(name_of_task(variant), canonical_name(attn), metric, network=entry.network)


def _published_difference(variant: str, claim: NetworkClaim, metric: str) -> float:
    """Return the difference of two published values, or that which the text states; NaN if there is none."""
    better, worse = (_find_published(variant, entry, _PUBLISHED[metric]) for entry in (claim.better, claim.worse))
    if better and worse:
        return worse.value - better.value
    return claim.stated.get(name_of_task(variant), math.nan)


def _source(variant: str, claim: NetworkClaim, published: float) -> str:
    """Return where a claim is stated, and whether for another data set."""
    if claim.source == _NOT_FROM_A_PAPER:
        return claim.source
    if math.isnan(published):
        return f"{claim.source}, {ELSEWHERE}"
    value = _find_published(variant, claim.better, ERROR)
    return claim.source if claim.stated or value is None else value.source.replace(" T", " Table ")
