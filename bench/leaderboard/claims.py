"""The claims of the papers, evaluated on runs: a difference with its interval, and a verdict. Pure.

A claim is expressed as a mean over seeds and test questions that is positive if the claim holds. Runs are compared only
if they have the same data set, recipe, unit of queries, precision, capture and device, over the seeds of both. Claims
about two variants compare runs whose recipes differ at most in `fade`, on data sets with the same questions: data sets
of one seed and size have the same digits in the same places, except `mbginv`, which has other questions. A verdict
holds for the networks that were trained; with few seeds its interval is too narrow (`bench.leaderboard.statistics`).
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from bench.config import training_stages
from bench.evaluation.columns import ACCURACY, MASK_CORRECTNESS, SCALES
from bench.evaluation.record_keys import OK, RIGHT, SCALE_BIN
from bench.leaderboard.claim_result import ClaimResult, ComparisonGroup, Pair, Place, Statement, evaluate
from bench.leaderboard.paired_answers import Answers, PairedAnswers, common_array, pair_answers
from bench.leaderboard.published import PAPERS, find_published, is_papers_network
from bench.leaderboard.row_key import computing_text, row_key
from bench.leaderboard.statistics import UNKNOWN, difference_of_means
from bench.runs.record_types import RunRecord
from mnistref.variants import is_changed


class RankingClaim(NamedTuple):
    """The claim that one mechanism has a higher accuracy than another one, and its source."""

    better: str
    worse: str
    text: str
    source: str


RANKING_CLAIMS = (
    RankingClaim("pan", "san", "progressive attention is better than soft attention", "PAN Table 1a, ARNN Table 1"),
    RankingClaim("stn-m", "san", "transformers in every slot are better than soft attention", "PAN Table 1a"),
    RankingClaim("pan-ctx", "pan", "local context helps", "PAN Table 1a, ARNN Table 1"),
    RankingClaim("arnn", "pan-ctx", "structured attention is better than local context", "ARNN Table 1"),
    RankingClaim("arnn", "arnn-ind", "the combined sides are better than independent ones", "ARNN Table 1"),
    RankingClaim("arnn", "arnn-sampled", "the mean is better than a sample", "ARNN Table 1"),
    RankingClaim("brnn2", "pan-ctx", "blocks of 2 × 2 are better than local context", "not from a paper"),
    RankingClaim(
        "brnn2,arnn", "none,arnn", "blocks of 2 × 2 help where arnn is too long for the first slot", "ARNN Table 3"
    ),
    RankingClaim(
        "brnn3,arnn", "none,arnn", "blocks of 3 × 3 help where arnn is too long for the first slot", "ARNN Table 3"
    ),
    RankingClaim("brnn2,arnn", "arnn", "blocks of 2 × 2 in the first slot are better than arnn", "ARNN Table 3"),
    RankingClaim(
        *("unet2", "arnn", "a U-Net of depth 2 is better than structured attention"),
        "not from a paper; equal in ARNN suppl. Table 1",
    ),
    RankingClaim("unet2-arnn", "unet2", "structured attention helps a U-Net of depth 2", "ARNN suppl. Table 1"),
    RankingClaim("unet3-arnn", "unet3", "structured attention helps a U-Net of depth 3", "ARNN suppl. Table 1"),
    RankingClaim("cbam-arnn", "cbam", "structured attention helps CBAM", "ARNN §4.2"),
)
_MASK_CORRECTNESS_PAIRS = ("pan", "san"), ("pan-ctx", "pan"), ("arnn", "pan-ctx")
_SCALE_PAIRS = ("arnn", "pan"), ("arnn", "pan-ctx")
_CLUTTER_PAIRS = ("pan", "san"), ("pan-ctx", "san"), ("arnn", "san"), ("arnn", "pan-ctx")
_BLACK_VARIANT, _CLUTTERED_VARIANTS = "mref", ("mdist", "mbg")
_MIDDLE_BIN, _LARGE_BIN = 1, 4
"""The scale bins 1 to 1.5, and 2.5 to 3."""


Runs = dict[str, dict[int, Answers]]
"""Mechanism → seed → answers."""


def evaluate_claims(results: Iterable[RunRecord]) -> list[ClaimResult]:
    """Return every claim for which there are finished runs of the papers' network and law, with stored answers.

    Args:
        results: as for `bench.leaderboard.aggregate.build_board`.
    """
    groups: dict[ComparisonGroup, Runs] = {}
    for result in results:
        answers = result.get("answers")
        is_comparable = is_papers_network(result["recipe"]) and not is_changed(result.get("note"))
        if result["status"] == OK and answers is not None and is_comparable:
            key = row_key(result)
            group = ComparisonGroup(
                key["variant"], key["dataset"], key["recipe"], key["queries"], computing_text(result)
            )
            runs = groups.setdefault(group, {})
            runs.setdefault(key["attn"], {}).setdefault(result["seed"], answers)
    evaluated: list[ClaimResult] = []
    for group, runs in sorted(groups.items()):
        evaluated += [*_ranking_claims(group, runs), *_mask_claims(group, runs), *_scale_claims(group, runs)]
    for (black, black_runs), (clutter, clutter_runs) in itertools.product(sorted(groups.items()), repeat=2):
        if black[0] == _BLACK_VARIANT and clutter[0] in _CLUTTERED_VARIANTS and _are_trained_alike(black, clutter):
            evaluated += _clutter_claims(black, black_runs, clutter, clutter_runs)
    return evaluated


def _ranking_claims(group: ComparisonGroup, runs: Runs) -> Iterator[ClaimResult]:
    for claim in RANKING_CLAIMS:
        compared = (claim.better, claim.worse)
        if pair := pair_runs(runs, compared, RIGHT):
            published = _published_difference(group[0], compared, ACCURACY)
            source = _source(group, claim.source, published)
            statement = Statement(claim.text, source, Place(group), compared)
            yield evaluate(statement, pair.difference, published, images=pair.images)


def _mask_claims(group: ComparisonGroup, runs: Runs) -> Iterator[ClaimResult]:
    for compared in _MASK_CORRECTNESS_PAIRS:
        if pair := pair_runs(runs, compared, MASK_CORRECTNESS):
            published = _published_difference(group[0], compared, MASK_CORRECTNESS)
            source = _source(group, "ARNN Table 2", published)
            text = "mask correctness rises from san to pan, pan-ctx and arnn"
            statement = Statement(text, source, Place(group), compared)
            evaluated = evaluate(statement, pair.difference, published, images=pair.images)
            yield replace(evaluated, metric=MASK_CORRECTNESS)


def _scale_claims(group: ComparisonGroup, runs: Runs) -> Iterator[ClaimResult]:
    """Evaluate whether the lead in accuracy is larger for large digits than for digits of middle size.

    If a scale bin has a single question, the bounds are unknown: the variation between its questions is unknown.
    """
    for compared in _SCALE_PAIRS:
        pair = pair_runs(runs, compared, RIGHT)
        first, second = _answers(runs, compared)
        bins = common_array(first + second, SCALE_BIN)
        if pair is None or bins is None or len(bins) != pair.first.shape[1]:
            continue
        large, middle = bins == _LARGE_BIN, bins == _MIDDLE_BIN
        if not (large.any() and middle.any()):
            continue
        published = _published_difference(group[0], compared, SCALES[_LARGE_BIN])
        published -= _published_difference(group[0], compared, SCALES[_MIDDLE_BIN])
        text = "accuracy falls less towards large digits, from scale 1–1.5 to 2.5–3"
        values = difference_of_means(pair.difference, large, middle)
        images = None if pair.images is None else pair.images[large | middle]
        statement = Statement(text, "ARNN Table 2", Place(group), compared)
        evaluated = evaluate(statement, values, published, max_difference=2.0, images=images)
        yield evaluated if min(large.sum(), middle.sum()) > 1 else replace(evaluated, bounds=UNKNOWN)


def _clutter_claims(
    black: ComparisonGroup, black_runs: Runs, clutter: ComparisonGroup, clutter_runs: Runs
) -> Iterator[ClaimResult]:
    """Evaluate whether leads are larger on a cluttered variant than on a black background."""
    for compared in _CLUTTER_PAIRS:
        seeds = _common_seeds(black_runs, compared) & _common_seeds(clutter_runs, compared)
        on_black = pair_runs(black_runs, compared, RIGHT, seeds)
        on_clutter = pair_runs(clutter_runs, compared, RIGHT, seeds)
        if not (on_black and on_clutter) or on_black.first.shape != on_clutter.first.shape:
            continue
        values = on_clutter.difference - on_black.difference
        published = _published_difference(clutter[0], compared, ACCURACY)
        published -= _published_difference(black[0], compared, ACCURACY)
        place = Place(clutter, black=black.dataset)
        statement = Statement("the lead grows with clutter", "ARNN §4.1", place, compared)
        yield evaluate(statement, values, published, max_difference=2.0, images=on_clutter.images)


def _common_seeds(runs: Runs, compared: Pair) -> set[int]:
    first, second = compared
    return set(runs.get(first, ())) & set(runs.get(second, ()))


def pair_runs(runs: Runs, compared: Pair, name: str, seeds: set[int] | None = None) -> PairedAnswers | None:
    """Return an array of answers of both mechanisms; None if there are no pairs.

    Args:
        runs: the runs of a comparison group.
        compared: two mechanisms.
        name: name of the array.
        seeds: the seeds; by default, all that both mechanisms have.
    """
    first, second = _answers(runs, compared, seeds)
    return pair_answers(first, second, name)


def _answers(runs: Runs, compared: Pair, seeds: set[int] | None = None) -> tuple[list[Answers], list[Answers]]:
    """Return the answers of both mechanisms over the seeds, by default those that both have."""
    seeds = _common_seeds(runs, compared) if seeds is None else seeds
    first, second = ([runs[attn][seed] for seed in sorted(seeds)] for attn in compared)
    return first, second


def _published_difference(variant: str, compared: Pair, metric: str) -> float:
    """Return the difference of two published values; NaN if no paper has both.

    Both values are taken from one paper, because the papers trained their networks differently.
    """
    for paper in PAPERS:
        first, second = (find_published(variant, attn, metric, [paper]) for attn in compared)
        if first and second:
            return first.value - second.value
    return math.nan


def _source(group: ComparisonGroup, source: str, published: float) -> str:
    """Return where a claim is stated. The published values of `mbginv` are in the text of ARNN, not in a table."""
    return "ARNN §4.1" if group[0] == "mbginv" and not math.isnan(published) else source


def _are_trained_alike(black: ComparisonGroup, clutter: ComparisonGroup) -> bool:
    """Return whether unit of queries, computing and recipe are equal.

    `fade` may differ in the last stage of training, because it has no effect on a black background.
    """
    recipes = []
    for group in (black, clutter):
        last, *earlier = training_stages(group[2])
        recipes.append([re.sub(",fade=[^,]+", "", last), *earlier])
    return recipes[0] == recipes[1] and black[3:] == clutter[3:]
