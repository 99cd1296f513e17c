"""What the papers claim, asked of runs: each as a difference with its interval, and the verdict that follows. Pure.

A claim is a mean over seeds and test questions that lies above 0 where it holds. Only runs that are alike in data,
recipe and unit of queries are compared, over the seeds that both have; across variants, runs whose recipes are alike
but for `fade`, on sets that put the same questions: sets of one seed and size show the same digits in the same places
(`mbginv` asks others). Each is about the networks trained so, and of few seeds its interval is too narrow
(`bench.leaderboard.statistics`).
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.config import training_stages
from bench.evaluation.metric_names import MASK_CORRECTNESS, SCALES
from bench.leaderboard.aggregate import RIVALS, key_of
from bench.leaderboard.published import PAPERS, published
from bench.leaderboard.statistics import UNKNOWN, Interval, interval

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"

BETTER = (
    ("pan", "san", "progressive attention is better than soft attention", "PAN Table 1a, ARNN Table 1"),
    ("stn-m", "san", "transformers in every slot are better than soft attention", "PAN Table 1a"),
    ("pan-ctx", "pan", "local context helps", "PAN Table 1a, ARNN Table 1"),
    ("arnn", "pan-ctx", "structured attention is better than local context", "ARNN Table 1"),
    ("arnn", "arnn-ind", "the two sides are better combined than independent", "ARNN Table 1"),
    ("arnn", "arnn-sampled", "the mean is better than a sample", "ARNN Table 1"),
    ("brnn2", "pan-ctx", "blocks of 2 × 2 are better than local context", "nowhere; asked here"),
    ("brnn2,arnn", "none,arnn", "blocks of 2 × 2 help where arnn is too long for the first slot", "ARNN Table 3"),
    ("brnn3,arnn", "none,arnn", "blocks of 3 × 3 help where arnn is too long for the first slot", "ARNN Table 3"),
    ("brnn2,arnn", "arnn", "blocks of 2 × 2 are better there than arnn", "ARNN Table 3"),
    ("unet2", "arnn", "a U-Net of depth 2 is better than structured attention", "asked here; ARNN-S T1: level"),
    ("unet2-arnn", "unet2", "structured attention helps a U-Net of depth 2", "ARNN suppl. Table 1"),
    ("unet3-arnn", "unet3", "structured attention helps a U-Net of depth 3", "ARNN suppl. Table 1"),
    ("cbam-arnn", "cbam", "structured attention helps CBAM", "ARNN §4.2"),
)
"""(better, worse, the claim, where it stands)"""
_LOOKS = ("pan", "san"), ("pan-ctx", "pan"), ("arnn", "pan-ctx")
_GROWS = ("pan", "san"), ("pan-ctx", "san"), ("arnn", "san"), ("arnn", "pan-ctx")
_FLAT = ("arnn", "pan"), ("arnn", "pan-ctx")
_BLACK, _CLUTTER = "mref", ("mdist", "mbg")
_MIDDLE, _LARGE = 1, 4  # bins of scale: 1 to 1.5, and 2.5 to 3


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what came of it.

    Attributes:
        claim: in words.
        source: where a paper makes it.
        where: the data set, or two, and the recipe.
        compared: "better − worse".
        measure: whose difference it is, accuracy or mask_correctness.
        seeds: how many both have.
        difference: the mean, a share in −1 … 1; of leads −2 … 2.
        bounds: between which it lies with 95 % confidence, or NaN where that is unknown.
        printed: the difference that a paper prints, or NaN.
    """

    claim: str
    source: str
    where: str
    compared: str
    measure: str
    seeds: int
    difference: float
    bounds: Interval
    printed: float = math.nan

    @property
    def verdict(self) -> str:
        """By the interval: above 0, below 0, or neither."""
        return HOLDS if self.bounds.lo > 0 else FAILS if self.bounds.hi < 0 else OPEN


_Answers = Mapping[str, np.ndarray]
_Runs = dict[str, dict[int, _Answers]]  # mechanism → seed → answers
_ComparisonGroup = tuple[str, str, str, str]  # by RIVALS


def claims(results: Iterable[Mapping[str, Any]]) -> list[ClaimResult]:
    """Every claim that these results, as `bench.leaderboard.aggregate.leaderboard` takes them, can be asked."""
    contests: dict[_ComparisonGroup, _Runs] = {}
    for result in results:
        if result["status"] == "ok" and result.get("answers") is not None:
            key = key_of(result)
            runs = contests.setdefault(tuple(key[name] for name in RIVALS), {})
            runs.setdefault(key["attn"], {}).setdefault(result["seed"], result["answers"])
    found: list[ClaimResult] = []
    for contest, runs in sorted(contests.items()):
        found += [*_better(contest, runs), *_looks_better(contest, runs), *_flatter(contest, runs)]
    for (black, of_black), (clutter, of_clutter) in itertools.product(sorted(contests.items()), repeat=2):
        if black[0] == _BLACK and clutter[0] in _CLUTTER and _alike(black, clutter):
            found += _grows(black, of_black, clutter, of_clutter)
    return found


def _better(contest: _ComparisonGroup, runs: _Runs) -> Iterator[ClaimResult]:
    for first, second, claim, source in BETTER:
        if pair := _pair(runs, first, second, "right"):
            printed = _printed(contest[0], first, second, "accuracy")
            source = _stands(contest, source, printed)
            yield _asked(claim, source, _place(contest), (first, second), pair[0] - pair[1], printed)


def _looks_better(contest: _ComparisonGroup, runs: _Runs) -> Iterator[ClaimResult]:
    for first, second in _LOOKS:
        if pair := _pair(runs, first, second, MASK_CORRECTNESS):
            printed = _printed(contest[0], first, second, MASK_CORRECTNESS)
            claim, measure = "mask correctness rises from san to pan, pan-ctx and arnn", MASK_CORRECTNESS
            source = _stands(contest, "ARNN Table 2", printed)
            yield _asked(claim, source, _place(contest), (first, second), pair[0] - pair[1], printed, measure)


def _flatter(contest: _ComparisonGroup, runs: _Runs) -> Iterator[ClaimResult]:
    """Of the lead in accuracy, how much more of it there is on large digits than on those of middle size.

    One question tells nothing of how those of its size differ, so that a size with one leaves the bounds unknown.
    """
    for first, second in _FLAT:
        pair, bins = _pair(runs, first, second, "right"), _bins(runs, first, second)
        if pair is None or bins is None or len(bins) != pair[0].shape[1]:
            continue
        large, middle = bins == _LARGE, bins == _MIDDLE
        if not (large.any() and middle.any()):
            continue
        either = large | middle
        # weighed so that its mean over both bins is the mean of the one less that of the other
        weights = either.sum() * (large / large.sum() - middle / middle.sum())
        printed = _printed(contest[0], first, second, SCALES[_LARGE]) - _printed(
            contest[0], first, second, SCALES[_MIDDLE]
        )
        words = "accuracy falls less towards large digits, from scale 1–1.5 to 2.5–3", "ARNN Table 2"
        values = ((pair[0] - pair[1]) * weights)[:, either]
        found = _asked(*words, _place(contest), (first, second), values, printed, most=2.0)
        yield found if min(large.sum(), middle.sum()) > 1 else replace(found, bounds=UNKNOWN)


def _grows(
    black: _ComparisonGroup, of_black: _Runs, clutter: _ComparisonGroup, of_clutter: _Runs
) -> Iterator[ClaimResult]:
    for first, second in _GROWS:
        seeds = _seeds(of_black, first, second) & _seeds(of_clutter, first, second)
        pairs = [_pair(runs, first, second, "right", seeds) for runs in (of_black, of_clutter)]
        if not (pairs[0] and pairs[1]) or pairs[0][0].shape != pairs[1][0].shape:
            continue
        values = (pairs[1][0] - pairs[1][1]) - (pairs[0][0] - pairs[0][1])
        printed = _printed(clutter[0], first, second, "accuracy") - _printed(black[0], first, second, "accuracy")
        where = f"{black[1]} → {_place(clutter)}"
        yield _asked("the lead grows with clutter", "ARNN §4.1", where, (first, second), values, printed, most=2.0)


def _asked(
    claim: str,
    source: str,
    where: str,
    of: tuple[str, str],
    values: np.ndarray,
    printed: float,
    measure: str = "accuracy",
    most: float = 1.0,
) -> ClaimResult:
    """A claim with its numbers; `most`: the largest size that a difference can have."""
    bounds, mean = interval(values, paired=True, most=most), float(values.mean())
    return ClaimResult(claim, source, where, " − ".join(of), measure, len(values), mean, bounds, printed)


def _seeds(runs: _Runs, first: str, second: str) -> set[int]:
    return set(runs.get(first, ())) & set(runs.get(second, ()))


def _bins(runs: _Runs, first: str, second: str) -> np.ndarray | None:
    """The bins of scale of the questions, i8 (T,), where all runs of the seeds that both have say the same."""
    both = [runs[attn][seed] for seed in _seeds(runs, first, second) for attn in (first, second)]
    kept = [answers["scale_bin"] for answers in both if "scale_bin" in answers]
    alike = len(kept) == len(both) and all(np.array_equal(bins, kept[0]) for bins in kept)
    return kept[0] if kept and alike else None


def _pair(
    runs: _Runs, first: str, second: str, name: str, seeds: set[int] | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """What both made of each question, f8 (S, T) each, of the seeds that both have (or of these); None without any."""
    seeds = _seeds(runs, first, second) if seeds is None else seeds
    both = [[runs[attn][seed] for seed in sorted(seeds)] for attn in (first, second) if seeds]
    if not both or any(name not in answers for row in both for answers in row):
        return None
    if len({len(answers[name]) for row in both for answers in row}) > 1:
        return None
    one, other = (np.stack([answers[name] for answers in row]).astype(np.float64) for row in both)
    return one, other


def _printed(variant: str, first: str, second: str, measure: str) -> float:
    """The difference that one paper prints, since each trained its networks in its own way; NaN where none has both."""
    for paper in PAPERS:
        one, other = (published(variant, attn, measure, [paper]) for attn in (first, second))
        if one and other:
            return one.value - other.value
    return math.nan


def _stands(contest: _ComparisonGroup, source: str, printed: float) -> str:
    """Where the claim is made of this variant: the inverse task's numbers stand in no table."""
    return "ARNN §4.1" if contest[0] == "mbginv" and not math.isnan(printed) else source


def _place(contest: _ComparisonGroup) -> str:
    return ", ".join(contest[1:3] + (contest[3:] if contest[3] != "one" else ()))


def _alike(one: _ComparisonGroup, other: _ComparisonGroup) -> bool:
    """Whether recipes and units of queries are the same, but for fading backgrounds in, which black has no use for."""
    recipes = []
    for contest in (one, other):
        of_its_own, *before = training_stages(contest[2])
        recipes.append([re.sub(",fade=[^,]+", "", of_its_own), *before])
    return recipes[0] == recipes[1] and one[3] == other[3]
