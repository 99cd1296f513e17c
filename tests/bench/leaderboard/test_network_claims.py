"""Claims about networks for natural images, evaluated on runs with constructed answers and known verdicts."""

import math

import numpy as np
import pytest

from bench.leaderboard.claim_result import FAILS, HOLDS, NOT_RUN, UNDECIDED
from bench.leaderboard.claims_table import claims_to_text
from bench.leaderboard.network_claims import (
    CONTROL,
    CONTROLS,
    ELSEWHERE,
    NETWORK_CLAIMS,
    Entry,
    evaluate_network_claims,
)
from bench.leaderboard.statistics import bootstrap_interval
from bench.networks import resolve
from bench.profiling.multiplications import count_multiplications
from tests.bench.leaderboard.helpers import network_run as run


def one(results: list[dict], compared: str, metric: str = "accuracy"):
    """Return the only claim that compares these networks."""
    found = [c for c in evaluate_network_claims(results) if (c.compared, c.metric) == (compared, metric)]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(("cbam", "verdict"), [(0.8, HOLDS), (0.5, FAILS), (0.651, UNDECIDED)])
def test_verdicts_of_top1_and_top5_follow_from_paired_answers(cbam, verdict):
    shares = ("none", 0.65), ("cbam", cbam)
    results = [run("resnet18", attn, share, seed, task="cifar100") for attn, share in shares for seed in range(2)]
    for metric, name, published in (("accuracy", "right", 0.2556 - 0.2507), ("top5", "right5", 0.0687 - 0.0657)):
        found = one(results, "resnet18 cbam − resnet18 none", metric)
        first, second = (
            np.stack([r["answers"][name] for r in results if r["attn"] == attn]).astype(float)
            for attn in ("cbam", "none")
        )
        assert (found.seeds, found.difference) == (2, pytest.approx((first - second).mean()))
        assert found.bounds == bootstrap_interval(first - second, paired=True)
        assert (found.published, found.source) == (pytest.approx(published), "ARNN Table 4")
    assert one(results, "resnet18 cbam − resnet18 none").verdict == verdict


def test_questions_about_one_image_are_drawn_together():
    results = [run("resnet18", attn, share) for attn, share in (("none", 0.5), ("cbam", 0.52))]
    first, second = (r["answers"]["right"].astype(float)[None] for r in results)
    image = np.arange(first.shape[1]) // 7
    for each in results:
        each["answers"] = each["answers"] | {"image": image}
    found = one(results, "resnet18 cbam − resnet18 none")
    assert found.bounds == bootstrap_interval(second - first, paired=True, images=image)
    assert found.bounds != bootstrap_interval(second - first, paired=True)


def test_the_options_of_cbams_own_program_have_the_published_values():
    own = "cbam:bias=true:norm=true:reduction=16"
    pair = [run("resnet18", attn, share, task="cifar100") for attn, share in ((own, 0.8), ("none", 0.6))]
    found = one(pair, f"resnet18 {own} − resnet18 none")
    assert (found.verdict, found.published) == (HOLDS, pytest.approx(0.2556 - 0.2507))
    assert not [c for c in evaluate_network_claims(pair[:1]) if own in c.missing or own in c.compared]


def test_a_claim_with_one_network_is_not_run_and_one_without_is_not_listed():
    results = [run("resnet18", "cbam", 0.6, task="cifar100")]
    found = evaluate_network_claims(results)
    assert {(c.compared, c.verdict, c.missing, c.seeds) for c in found} == {
        ("resnet18 cbam − resnet18 none", NOT_RUN, "resnet18 none", 0),
        ("resnet18 cbam-arnn − resnet18 cbam", NOT_RUN, "resnet18 cbam-arnn", 0),
    }
    assert "not run: resnet18 cbam-arnn" in claims_to_text(found)


def test_sources_name_the_table_of_the_data_set_or_say_that_it_is_another_one():
    sources = {}
    for task in ("cifar10", "svhn", "mone", "folder-photos"):
        pair = [run("vgg-att", "ltpa-pc:levels=2", 0.8, task=task), run("vgg", "none", 0.5, task=task)]
        found = one(pair, "vgg-att ltpa-pc:levels=2 − vgg none")
        sources[task] = found.source
        assert math.isnan(found.published) == (ELSEWHERE in found.source)
        assert found.verdict == HOLDS
    elsewhere = f"LTPA Table 1, {ELSEWHERE}"
    assert [*sources.values()] == ["LTPA Table 1", "LTPA Table 2", elsewhere, elsewhere]
    pair = [run("vgg-pan", "none,ltpa-pan", 0.5, task="svhn"), run("vgg-att", "ltpa-pc", 0.8, task="svhn")]
    found = one(pair, "vgg-att ltpa-pc − vgg-pan none,ltpa-pan")
    assert (found.source, found.published) == ("LTPA Table 2", pytest.approx(0.0802 - 0.0352))
    pair = [run("resnet164", "none", 0.8), run("resnet164", "ltpa-pc:levels=2", 0.5)]
    found = one(pair, "resnet164 none − resnet164 ltpa-pc:levels=2")
    assert (found.source, found.published) == ("LTPA §5.1", 0.009)
    assert "the classifier is one linear layer; in the program of LTPA's authors, BatchNorm" in claims_to_text([found])


def test_a_folder_has_the_published_values_of_the_data_set_of_its_name():
    att, vgg = (run(*of, task="folder-cub200") for of in (("vgg-att", "ltpa-pc:levels=2", 0.8), ("vgg", "none", 0.5)))
    found = one([att, vgg], "vgg-att ltpa-pc:levels=2 − vgg none")
    assert (found.source, found.published) == ("LTPA Table 2", pytest.approx(0.3464 - 0.2680))
    alone = one([vgg], "vgg-att ltpa-pc:levels=2 − vgg none")
    assert (alone.missing, alone.published) == ("vgg-att ltpa-pc:levels=2", found.published)


def test_the_compute_of_both_networks_stands_beside_a_claim():
    pair = [run("vgg-att", "ltpa-dp:levels=1", 0.8), run("vgg", "none", 0.5)]
    found = one(pair, "vgg-att ltpa-dp:levels=1 − vgg none")
    counts = tuple(
        count_multiplications(resolve(attn, network=network), 10, 0, (32, 32))
        for network, attn in (("vgg-att", "ltpa-dp:levels=1"), ("vgg", "none"))
    )
    assert found.multiplications == counts
    assert counts[0] / counts[1] == pytest.approx(12.1, abs=0.05)
    assert "3,786 / 313 = 12.1 ×" in claims_to_text([found])
    for unknown in (None, {"task": "cifar10", "variant": "cifar10"}):
        found = one([{**r, "request": unknown} for r in pair], "vgg-att ltpa-dp:levels=1 − vgg none")
        assert found.multiplications == (None, None)
        assert " ×" not in claims_to_text([found], markdown=True)


def test_the_control_of_equal_compute_is_compared_if_it_was_run():
    pair = [run("vgg-att", "ltpa-pc", 0.8), run("vgg", "none", 0.5)]
    without = evaluate_network_claims(pair)
    assert f"{CONTROL} was not run; it is the control of equal compute" in claims_to_text(without)
    assert not [c for c in without if CONTROL in c.compared]
    results = [*pair, run("vgg-late", "none", 0.7)]
    text = claims_to_text(evaluate_network_claims(results))
    assert f"{CONTROL} was run; it is the control of equal compute" in text
    assert one(results, f"{CONTROL} − vgg none").source == "not from a paper"
    found = one(results, f"vgg-att ltpa-pc − {CONTROL}")
    assert (found.verdict, found.source) == (HOLDS, "not from a paper")
    first, second = found.multiplications
    assert first / second == pytest.approx(1, abs=0.02)


def test_the_dot_product_in_three_levels_is_compared_though_no_paper_has_it():
    pair = [run("vgg-att", "ltpa-dp", 0.3), run("vgg", "none", 0.5)]
    assert not [c for c in evaluate_network_claims(pair) if "vgg-att ltpa-dp " in c.compared]
    results = [*pair, run("vgg-late", "none", 0.7)]
    for worse in ("vgg none", CONTROL):
        found = one(results, f"vgg-att ltpa-dp − {worse}")
        assert (found.source, found.verdict, math.isnan(found.published)) == ("not from a paper", FAILS, True)


def test_runs_with_other_recipes_data_or_relative_widths_are_not_compared():
    vgg = run("vgg", "none", 0.5)
    for odd in ({"recipe": "fast,network=vgg-att,width=64"}, {"task": "cifar100"}, {"width": 16}):
        found = evaluate_network_claims([vgg, run("vgg-att", "ltpa-pc", 0.8, **odd)])
        assert {c.verdict for c in found} == {NOT_RUN}
    assert evaluate_network_claims([run("vgg", "none", 0.5, task="mone")]) == []  # a claim of no paper
    narrow = [run("vgg-att", "ltpa-pc", 0.8, width=16), run("resnet164", "none", 0.5, width=4)]
    narrow[1]["recipe"] = "ltpa-resnet,network=resnet164,width=4"  # each with its own recipe of the paper
    found = one(narrow, "vgg-att ltpa-pc − resnet164 none")
    assert (found.verdict, found.group) == (HOLDS, "cifar10-0123456789ab, ltpa-vgg/resnet, 0.25 of the default width")
    spec = resolve("none", 4, "resnet164")
    assert found.multiplications[1] == count_multiplications(spec, 10, 0, (32, 32))


def test_runs_without_common_seeds_or_top5_are_not_compared():
    pair = [run("resnet18", "cbam", 0.8), run("resnet18", "none", 0.5, seed=1)]
    assert not [c for c in evaluate_network_claims(pair) if c.missing == ""]
    pair[1]["seed"] = 0
    del pair[0]["answers"]["right5"]
    assert [c.metric for c in evaluate_network_claims(pair) if c.missing == ""] == ["accuracy"]


def test_other_networks_and_unfinished_runs_make_no_claim():
    pair = [run("resnet18", "cbam", 0.8), run("resnet18", "none", 0.5)]
    for odd in ({"recipe": "ltpa-vgg"}, {"status": "diverged"}, {"answers": None}):
        assert evaluate_network_claims([{**result, **odd} for result in pair]) == []
    other = {"recipe": "ltpa-vgg,network=own-net,width=64"}
    assert evaluate_network_claims([{**result, **other} for result in pair]) == []


def test_the_networks_of_the_claims_exist_and_are_compared_once():
    pairs = [(claim.better, claim.worse) for claim in NETWORK_CLAIMS + CONTROLS]
    assert len(set(pairs)) == len(pairs)
    for entry in {entry for pair in pairs for entry in pair}:
        assert isinstance(entry, Entry)
        resolve(entry.attn, network=entry.network, size=(32, 32))
