"""Claims of LTPA Figures 6 and 9, evaluated on constructed records of attacks and of maps."""

import math

import numpy as np
import pytest

from bench.attribution.fooling import Attack
from bench.leaderboard import figure_claims
from bench.leaderboard.claim_result import FAILS, HOLDS, NOT_RUN, UNDECIDED
from bench.leaderboard.claims_table import claims_to_text
from bench.leaderboard.figure_claims import OTHER_MECHANISM, evaluate_attack_claims, evaluate_map_claims
from bench.leaderboard.network_claims import ELSEWHERE
from bench.leaderboard.statistics import bootstrap_interval
from bench.runs.attack_record import AttackRecord
from bench.runs.saliency_record import SaliencyRecord
from tests.bench.leaderboard.helpers import network_run

N = 300
HARD = np.random.default_rng(1).random(N)
PC2 = "ltpa-pc:levels=2"
NETWORKS = {"att": ("vgg-att", PC2), "vgg": ("vgg", "none"), "gap": ("vgg-gap", "none")}


def runs(*names: str, **more) -> list[dict]:
    return [{**network_run(*NETWORKS[name], 0.5, **more), "run": f"{name}-{more.get('seed', 0)}"} for name in names]


def attacks(rate: float, task: str = "mone", norms=(4.0,), images: int = N) -> AttackRecord:
    """Return the record of FGSM on all pixels, which fools on this share of the images, and of other attacks."""
    fooled = (rate > HARD)[:images]
    changed = {Attack("fgsm", "all", norm): fooled for norm in norms}
    changed |= {Attack(*other, 4.0): ~fooled for other in (("pgd", "all"), ("fgsm", "target"))}
    return AttackRecord({"dataset": f"{task}-0123456789ab"}, changed, {}, fooled, {})


def maps(explained: str = "prediction", task: str = "mone", **overlaps: float) -> SaliencyRecord:
    """Return the record of map methods with these mean IoUs, on average."""
    measures = {method: {"iou_otsu": HARD * 2 * mean} for method, mean in overlaps.items()}
    return SaliencyRecord({"dataset": f"{task}-0123456789ab", "explained": explained}, measures, {}, HARD > 0)


@pytest.mark.parametrize(("rate", "verdict"), [(0.5, HOLDS), (0.9, FAILS), (0.7, UNDECIDED)])
def test_fooling_rates_are_compared_image_by_image(rate, verdict):
    results = [*runs("att", "vgg", task="mone"), *runs("att", "vgg", task="mone", seed=1)]
    records = {f"{name}-{seed}": attacks(rate if name == "att" else 0.7) for name in ("att", "vgg") for seed in (0, 1)}
    if verdict == UNDECIDED:  # equal rates on other images
        for seed in (0, 1):
            changed = {attack: values[::-1] for attack, values in records[f"att-{seed}"].changed.items()}
            records[f"att-{seed}"] = AttackRecord(records["vgg-0"].settings, changed, {}, HARD > 0, {})
    (found,) = evaluate_attack_claims(results, records)
    fooled = records["att-0"].changed[Attack("fgsm", "all", 4.0)]
    differences = np.stack([(HARD < 0.7).astype(float) - fooled] * 2)
    assert (found.compared, found.metric) == (f"vgg none − vgg-att {PC2}", "fooling_rate")
    assert (found.verdict, found.seeds, found.difference) == (verdict, 2, pytest.approx(differences.mean()))
    assert found.bounds == bootstrap_interval(differences, paired=True)
    assert found.claim == "VGG with attention is fooled less often by FGSM, ε = 4/255"
    assert (found.source, math.isnan(found.published)) == (f"LTPA Figure 6, {ELSEWHERE}", True)
    text = claims_to_text([found])
    assert f"{100 * found.difference:+.1f}".replace("-", "−") in text.replace("-", "−")
    assert "fooling rate over the first 300 test images of mone-0123456789ab" in text


def test_records_of_other_lengths_are_compared_over_the_images_of_both():
    records = {"att-0": attacks(0.3, images=80), "vgg-0": attacks(0.7)}
    (found,) = evaluate_attack_claims(runs("att", "vgg", task="mone"), records)
    assert found.difference == pytest.approx(((HARD < 0.7) * 1.0 - (HARD < 0.3))[:80].mean())
    assert "over the first 80 test images" in found.note


def test_each_norm_has_the_published_values_of_the_birds():
    task = "folder-cub200"
    records = {"att-0": attacks(0.3, task, (16.0, 1.0, 3.0)), "vgg-0": attacks(0.7, task, (1.0, 16.0, 3.0))}
    found = evaluate_attack_claims(runs("att", "vgg", task=task), records)
    assert [claim.claim.rpartition(" ")[2] for claim in found] == ["1/255", "3/255", "16/255"]
    assert [claim.published for claim in found] == pytest.approx([0.5858 - 0.5378, math.nan, -0.0114], nan_ok=True)
    assert [claim.source for claim in found] == ["LTPA Figure 6", f"LTPA Figure 6, {ELSEWHERE}", "LTPA Figure 6"]
    alone = evaluate_attack_claims(runs("att", task=task), records)
    assert [(claim.verdict, claim.missing) for claim in alone] == [(NOT_RUN, "vgg none")] * 2
    records["vgg-0"].settings["dataset"] = records["att-0"].settings["dataset"] = "other"
    elsewhere = evaluate_attack_claims(runs("att", "vgg", task=task), records)
    assert all(math.isnan(claim.published) and claim.group.endswith(" → other") for claim in elsewhere)


def test_only_records_of_the_same_data_set_seed_and_recipe_are_compared():
    pair, records = runs("att", "vgg", task="mone"), {"att-0": attacks(0.3), "vgg-0": attacks(0.7)}
    assert len(evaluate_attack_claims(pair, records)) == 1
    assert evaluate_attack_claims(pair, {"att-0": records["att-0"]}) == []
    assert evaluate_attack_claims(pair, records | {"vgg-0": attacks(0.7, "pets")}) == []
    for odd in ({"seed": 1}, {"recipe": "fast,network=vgg,width=64"}):
        assert evaluate_attack_claims([pair[0], {**pair[1], **odd}], records) == []


@pytest.mark.parametrize(("attention", "verdict"), [(0.4, HOLDS), (0.1, FAILS)])
def test_attention_is_compared_with_class_activation_maps(attention, verdict):
    results = runs("att", "gap", task="pets")
    records = {"att-0": maps(attention=attention, gradcam=0.5), "gap-0": maps(cam=0.3, gradcam=0.5)}
    (found,) = evaluate_map_claims(results, records)
    differences = 2 * HARD * (attention - 0.3)
    assert (found.compared, found.metric) == (f"vgg-att {PC2} − vgg-gap none", "iou_otsu")
    assert (found.verdict, found.difference) == (verdict, pytest.approx(differences.mean()))
    assert found.bounds == pytest.approx(bootstrap_interval(differences[None], paired=True))
    assert (found.source, math.isnan(found.published)) == (f"LTPA Figure 9, {ELSEWHERE}", True)
    assert "iou otsu over the first 300 test images" in claims_to_text([found])


def test_attention_is_that_of_the_last_two_levels_if_it_was_measured():
    results = runs("att", "gap", task="pets")
    records = {"att-0": maps(attention=0.1, **{"two-levels": 0.4}), "gap-0": maps(cam=0.3)}
    (found,) = evaluate_map_claims(results, records)
    assert found.difference == pytest.approx((2 * HARD * (0.4 - 0.3)).mean())


def test_maps_of_the_right_class_are_no_class_activation_maps_of_the_answer():
    results, attention = runs("att", "gap", task="pets"), maps("label", attention=0.4)
    assert len(evaluate_map_claims(results, {"att-0": attention, "gap-0": maps(cam=0.3)})) == 1
    assert evaluate_map_claims(results, {"att-0": attention, "gap-0": maps("label", cam=0.3)}) == []


def test_the_source_says_that_a_figure_shows_other_mechanisms():
    own = {**network_run("vgg-att", "ltpa-dp:levels=2", 0.5, task="pets"), "run": "own"}
    results = [own, *runs("vgg", "gap", task="pets")]
    fooled = evaluate_attack_claims(results, {"own": attacks(0.3), "vgg-0": attacks(0.7)})
    segmented = evaluate_map_claims(results, {"own": maps(attention=0.4), "gap-0": maps(cam=0.3)})
    assert [claim.source for claim in (*fooled, *segmented)] == [
        f"LTPA Figure 6, {OTHER_MECHANISM}",
        f"LTPA Figure 9, {OTHER_MECHANISM}",
    ]


@pytest.mark.parametrize(("recipe", "is_said"), [("ltpa-vgg-fast", False), ("ltpa-vgg-fast,epochs=3,fade=0.7", True)])
def test_claims_about_maps_say_that_the_training_used_masks(recipe, is_said):
    claims = list(figure_claims._map_claims(("mone", "mone-0123456789ab", recipe, "one")))
    assert claims
    assert all(("--fade, which uses masks" in claim.note) == is_said for claim in claims)
