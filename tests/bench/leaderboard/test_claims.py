"""The papers' claims, evaluated on runs with constructed answers and known verdicts."""

import math
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import cli
from bench.common.number_format import points
from bench.leaderboard.claim_result import FAILS, HOLDS, UNDECIDED
from bench.leaderboard.claims import RANKING_CLAIMS, evaluate_claims
from bench.leaderboard.claims_table import claims_to_text
from bench.leaderboard.statistics import bootstrap_interval, difference_of_means, wilson_interval
from bench.model import create_model
from tests.helpers import TOP

QUESTIONS = 600
BINS = np.arange(QUESTIONS) % 5
HARD = np.random.default_rng(0).random(QUESTIONS)


def run(attn: str, share, seed: int = 0, variant: str = "mbg", recipe: str = "fast", maps: float = 0.1, **more) -> dict:
    """Return a result. `share` is the share of right answers: one number, or one for each scale bin."""
    rng = np.random.default_rng([seed, len(attn)])
    right = HARD + rng.normal(0, 0.05, QUESTIONS) < np.broadcast_to(share, 5)[BINS]
    kept = {"right": right.astype(np.uint8), "scale_bin": BINS, "mask_correctness": np.full(QUESTIONS, maps)}
    return {
        "status": "ok",
        "attn": attn,
        "variant": variant,
        "seed": seed,
        "recipe": recipe,
        "queries": "one",
        "dataset": {"spec_id": "0123456789ab"},
        "device": "cpu",
        "precision": "fp32",
        "bench_version": "0.1.0",
        "answers": kept,
        **more,
    }


def one(results: list[dict], *words: str):
    """Return the only claim whose text and place contain these words."""
    found = [c for c in evaluate_claims(results) if all(w in f"{c.claim} {c.compared} {c.group}" for w in words)]
    assert len(found) == 1, found
    return found[0]


def test_questions_about_one_image_are_drawn_together():
    """With ten questions about an image, and two scale bins, the intervals of claims are those over images."""
    image = np.arange(QUESTIONS) // 10
    results = [run("pan", 0.5), run("pan-ctx", 0.6), run("arnn", 0.65), run("pan", 0.5, variant="mref")]
    results += [run("san", 0.4), run("san", 0.4, variant="mref")]
    for each in results:
        each["answers"] = each["answers"] | {"image": image, "scale_bin": np.where(np.arange(QUESTIONS) % 2, 1, 4)}
    right = {f"{r['variant']} {r['attn']}": r["answers"]["right"].astype(float)[None] for r in results}
    lead = right["mbg pan-ctx"] - right["mbg pan"]
    assert one(results, "local context helps").bounds == bootstrap_interval(lead, paired=True, images=image)
    grown = right["mbg pan"] - right["mbg san"] - right["mref pan"] + right["mref san"]
    expected = bootstrap_interval(grown, paired=True, max_difference=2.0, images=image)
    assert one(results, "grows with clutter").bounds == expected
    masks = one(results, "mask correctness", "pan-ctx − pan")
    assert masks.bounds == bootstrap_interval(np.zeros((1, QUESTIONS)), paired=True, images=image)
    large = np.arange(QUESTIONS) % 2 == 0
    values = difference_of_means(right["mbg arnn"] - right["mbg pan"], large, ~large)
    expected = bootstrap_interval(values, paired=True, max_difference=2.0, images=image)
    assert one(results, "large digits", "arnn − pan mbg").bounds == expected


@pytest.mark.parametrize("leads", [(0.62, 0.5), (0.3, 0.4)])
def test_a_difference_of_two_groups_has_the_interval_of_resampled_groups(leads):
    """In each sample of questions, the groups have other sizes, and the mean of each is over those that it then has."""
    rng = np.random.default_rng(0)
    large = np.arange(2_000) < 100
    values = (rng.random(2_000) < np.where(large, *leads)).astype(float)

    def difference(drawn):
        return values[drawn][large[drawn]].mean() - values[drawn][~large[drawn]].mean()

    theirs = stats.bootstrap(
        (np.arange(2_000),), difference, vectorized=False, n_resamples=2_000, method="percentile", rng=rng
    )
    found = bootstrap_interval(difference_of_means(values[None], large, ~large), paired=True, max_difference=2.0)
    low, high = theirs.confidence_interval
    assert found == pytest.approx((low, high), abs=0.12 * (high - low))


def test_weighted_values_have_the_difference_of_two_means():
    rng = np.random.default_rng(0)
    values, groups = rng.random((3, 200)), rng.integers(0, 3, 200)
    found = difference_of_means(values, groups == 1, groups == 2)
    assert found.shape == (3, (groups > 0).sum())
    np.testing.assert_allclose(found.mean(1), values[:, groups == 1].mean(1) - values[:, groups == 2].mean(1))


@pytest.mark.parametrize(("pan", "ctx", "verdict"), [(0.4, 0.7, HOLDS), (0.7, 0.4, FAILS), (0.6, 0.601, UNDECIDED)])
def test_verdict_of_a_claim_follows_from_the_interval(pan, ctx, verdict):
    results = [run(attn, share, seed) for attn, share in (("pan", pan), ("pan-ctx", ctx)) for seed in range(3)]
    found = one(results, "local context helps")
    both = [
        np.stack([r["answers"]["right"] for r in results if r["attn"] == attn]).astype(float)
        for attn in ("pan-ctx", "pan")
    ]
    difference = both[0] - both[1]
    assert found.verdict == verdict
    assert (found.seeds, found.difference) == (3, pytest.approx(difference.mean()))
    assert found.bounds == bootstrap_interval(difference, paired=True)
    assert found.published == pytest.approx(0.7900 - 0.6933)


def test_claims_compare_like_runs_over_common_seeds():
    results = [run("pan", 0.4, seed) for seed in (0, 1, 2)] + [run("pan-ctx", 0.7, seed) for seed in (1, 2, 3)]
    assert one(results, "local context helps").seeds == 2
    for odd in ({"recipe": "pan"}, {"variant": "mref"}, {"seed": 7}):
        assert evaluate_claims([run("pan", 0.4), run("pan-ctx", 0.7, **odd)]) == []
    for other in ({"queries": "all"}, {"status": "diverged"}, {"answers": None}):
        assert evaluate_claims([run("pan", 0.4), run("pan-ctx", 0.7, **other)]) == []


def test_claims_about_mask_correctness_need_maps():
    found = one([run("pan", 0.4, maps=0.2), run("san", 0.4, maps=0.3)], "mask correctness")
    assert (found.verdict, found.difference) == (FAILS, pytest.approx(-0.1))
    assert found.published == pytest.approx(0.28 - 0.15)
    mapless = run("san", 0.4)
    del mapless["answers"]["mask_correctness"]
    assert [c.metric for c in evaluate_claims([run("pan", 0.8), mapless])] == ["accuracy"]


@pytest.mark.parametrize(("large", "verdict"), [(0.9, HOLDS), (0.1, FAILS)])
def test_flatness_is_the_lead_on_large_digits_minus_the_lead_on_middle_digits(large, verdict):
    results = [run("pan-ctx", 0.5), run("arnn", [0.2, 0.5, 0.7, 0.1, large])]
    found = one(results, "falls less", "arnn − pan-ctx")
    lead = results[1]["answers"]["right"].astype(float) - results[0]["answers"]["right"]
    assert found.difference == pytest.approx(lead[BINS == 4].mean() - lead[BINS == 1].mean())
    assert found.verdict == verdict
    assert found.bounds.lo < found.difference < found.bounds.hi
    assert found.published == pytest.approx((0.8237 - 0.6372) - (0.9140 - 0.8713))


START = "init=(mref-0123456789ab,fast)"


@pytest.mark.parametrize(
    ("black", "clutter", "alike"),
    [
        ("fast", "fast", True),
        ("fast", "fast,fade=0.5", True),
        (f"fast,{START}", f"fast,fade=0.5,{START}", True),
        ("fast", f"fast,fade=0.5,{START}", False),
        ("fast,init=(mbg-0,fast,fade=0.5)", "fast,init=(mbg-0,fast)", False),
        ("fast,epochs=4", "fast,epochs=5", False),
    ],
)
def test_a_lead_grows_only_between_runs_that_were_trained_alike(black, clutter, alike):
    results = [run("san", 0.4, recipe=black, variant="mref"), run("arnn", 0.5, recipe=black, variant="mref")]
    results += [run("san", 0.3, recipe=clutter), run("arnn", 0.8, recipe=clutter)]
    found = [c for c in evaluate_claims(results) if "clutter" in c.claim]
    assert len(found) == alike
    for growth in found:
        right = [r["answers"]["right"].astype(float) for r in results]
        assert growth.difference == pytest.approx(((right[3] - right[2]) - (right[1] - right[0])).mean())
        assert growth.verdict == HOLDS
        assert growth.group.startswith("mref-0123456789ab → mbg-0123456789ab")
        assert growth.published == pytest.approx((0.8584 - 0.5807) - (0.9893 - 0.8342))
    short = [run("san", 0.4, recipe=black, variant="mref"), run("arnn", 0.5, recipe=black, variant="mref")]
    for result in short:
        result["answers"] = {name: array[:-1] for name, array in result["answers"].items()}
    assert not [c for c in evaluate_claims(short + results[2:]) if "clutter" in c.claim]  # other questions


def test_published_difference_uses_values_of_one_paper():
    """Only the PAN paper has transformers. Both papers have soft attention, with different numbers."""
    found = one([run("stn-m", 0.4, variant="mbg"), run("san", 0.8, variant="mbg")], "transformers")
    assert found.published == pytest.approx(0.5225 - 0.5377)


def test_claims_about_the_inverse_task_have_published_values():
    mechanisms = "pan", "pan-ctx", "san"
    found = {
        c.compared: c
        for c in evaluate_claims([run(attn, 0.5, variant="mbginv") for attn in mechanisms])
        if c.metric == "accuracy"
    }
    assert found["pan-ctx − pan"].source == "ARNN §4.1"
    assert found["pan-ctx − pan"].published == pytest.approx(0.6637 - 0.4015)
    assert found["pan − san"].source == "PAN Table 1a, ARNN Table 1"  # without published numbers


def test_the_mechanisms_of_the_claims_exist():
    for better, worse, *_ in RANKING_CLAIMS:
        create_model(better, "mbgb")
        create_model(worse, "mbgb")


def test_claims_are_printed_in_words():
    found = evaluate_claims([run("pan", 0.4, maps=0.2), run("san", 0.8, maps=0.1)])
    text = claims_to_text(found)
    assert text.startswith("mbg-0123456789ab, fast\n\nclaim ")
    assert f"{points(found[0].difference)}  " in text
    assert "+0.100 … +0.100" in text
    assert "fewer than 5 seeds" in text
    markdown = claims_to_text(found, markdown=True)
    assert markdown.startswith("### mbg-0123456789ab, fast\n\n| claim | source |")
    assert "mini is for first steps" not in text
    small = evaluate_claims([run("pan", 0.4, variant="mini"), run("san", 0.8, variant="mini")])
    assert "mini is for first steps and tests" in claims_to_text(small)
    assert math.isnan(one([run("pan", 0.4, variant="mini"), run("san", 0.8, variant="mini")], "soft").published)


def test_the_leaderboard_command_prints_claims(tmp_path):
    call = lambda *more: CliRunner().invoke(cli.bench, ["leaderboard", "--claims", *more])  # noqa: E731
    runs = tmp_path / "runs"
    for name in ("mbg-pan-s0-5a17697d1e39", "mbg-pan-ctx-s0-1cc494ab2359"):
        shutil.copytree(TOP / "results/fast/runs" / name, runs / name)
    found = call("--runs", str(runs))
    assert found.exit_code == 0, found.output
    (line,) = [each for each in found.stdout.splitlines() if each.startswith("local context helps")]
    compared, metric, seeds, difference, interval, published, verdict = re.split(r"\s{2,}", line)[2:]
    assert (compared, metric, seeds, verdict) == ("pan-ctx − pan", "accuracy", "1", "holds")
    assert (difference, interval, published) == ("+5.2", "+4.5 … +5.8", "+9.7")  # 93.79 − 88.59 %
    shutil.rmtree(runs / "mbg-pan-s0-5a17697d1e39")
    found = call("--runs", str(runs))
    assert found.exit_code == 2
    assert "no claim of the papers compares two finished runs in this folder" in found.stderr
    both = call("--save", str(tmp_path / "board"))
    assert both.exit_code == 2
    assert "--claims" in both.stderr


def of_bins(attn: str, right: list[list[int]], bins: list[int], **more) -> list[dict]:
    """Return one run per seed with these answers to questions of these scale bins."""
    found = []
    for seed, each in enumerate(right):
        kept = {"right": np.array(each, np.uint8), "scale_bin": np.array(bins, np.int8)}
        found.append({**run(attn, 0.5, seed), **more, "answers": kept})
    return found


@pytest.mark.parametrize("middle", [[1], [1, 0, 1, 1]])
def test_flatness_with_one_question_of_a_size_is_undecided(middle):
    bins = [4] + [1] * len(middle)
    results = of_bins("arnn", [[1, *middle]], bins) + of_bins("pan", [[0] + [1] * len(middle)], bins)
    found = one(results, "falls less", "arnn − pan")
    assert found.difference == pytest.approx(1 + 1 - np.mean(middle))
    assert all(map(math.isnan, found.bounds))
    assert found.verdict == UNDECIDED
    assert not re.search("nan| … *\\|", claims_to_text([found], markdown=True))


def test_flatness_of_opposite_leads_is_bounded():
    """All large questions are won and all middle ones lost: the difference is 2, or less for other questions."""
    bins = [4] * 7 + [1] * 7
    results = of_bins("arnn", [[1] * 7 + [0] * 7], bins) + of_bins("pan", [[0] * 7 + [1] * 7], bins)
    found = one(results, "falls less", "arnn − pan")
    assert found.difference == pytest.approx(2)
    assert found.bounds == pytest.approx((2 - 4 * wilson_interval(0.0, 14).hi, 2))


def test_unshared_seeds_and_seeds_without_bins_are_ignored():
    bins = [4, 4, 1, 1]
    pair = of_bins("arnn", [[1, 1, 0, 1]], bins) + of_bins("pan", [[0, 1, 1, 1]], bins)
    longer = of_bins("arnn", [[1] * 5, [1] * 5], [4, 4, 1, 1, 0])[1:]
    assert one(pair + longer, "falls less").seeds == 1
    del pair[0]["answers"]["scale_bin"]
    assert [c for c in evaluate_claims(pair) if "falls less" in c.claim] == []


def test_single_question_decides_no_claim():
    results = of_bins("pan", [[1], [0]], [0]) + of_bins("san", [[0], [1]], [0])
    (found,) = evaluate_claims(results)
    assert (found.difference, found.verdict) == (0, UNDECIDED)
    assert all(map(math.isnan, found.bounds))


def test_special_characters_in_names_do_not_break_claim_tables():
    place = {"recipe": "fast|\n<b>", "dataset": {"spec_id": "a|\nb"}}
    text = claims_to_text(evaluate_claims([run("pan", 0.4, **place), run("san", 0.8, **place)]), markdown=True)
    assert text.splitlines()[0] == "### mbg-a|\\nb, fast|\\n&lt;b>"


@pytest.mark.parametrize("backwards", [False, True])
def test_runs_of_another_precision_are_compared_among_themselves(backwards):
    """A second run of a seed in bf16 does not replace the first one, in any order of the runs."""
    fp32 = [run("pan", 0.4), run("pan-ctx", 0.7)]
    bf16 = [run("pan", 0.6, precision="bf16"), run("pan-ctx", 0.5, precision="bf16")]
    alone = one(fp32, "local context helps")
    every = [*fp32, *bf16][:: -1 if backwards else 1]
    found = [claim for claim in evaluate_claims(every) if claim.claim == "local context helps"]
    assert [claim.place.group.settings for claim in found] == ["fast", "fast, bf16"]
    assert (found[0].difference, found[0].bounds) == (alone.difference, alone.bounds)
    assert found[1].verdict == FAILS
    mixed = [fp32[0], bf16[1]]
    assert not [claim for claim in evaluate_claims(mixed) if claim.claim == "local context helps"]
