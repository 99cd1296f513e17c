"""Claims about features on other images, evaluated on constructed transfers."""

import math

import numpy as np
import pytest

from bench.leaderboard.claim_result import FAILS, HOLDS, NOT_RUN
from bench.leaderboard.claims_table import claims_to_text
from bench.leaderboard.statistics import bootstrap_interval
from bench.leaderboard.transfer_claims import OTHER_IMAGES, TRANSFER_CLAIMS, evaluate_transfer_claims
from bench.networks import resolve
from bench.runs.transfer_record import TransferRecord
from tests.bench.leaderboard.helpers import network_run

N = 400
HARD = np.random.default_rng(1).random(N)
PC2 = "ltpa-pc:levels=2"


def named(network: str, attn: str, **more) -> dict:
    return {**network_run(network, attn, 0.5, **more), "run": f"{network}-{attn}-{more.get('seed', 0)}"}


def transfers(shares: dict[str, float], images: str = "folder-caltech101-0") -> dict[str, TransferRecord]:
    """Return the transfer of each run, with a share of right answers."""
    found = {}
    for name, share in shares.items():
        right = (share > HARD).astype(float)
        width = 1024 if name.startswith("vgg-att") else 512
        one = {"dataset": images, "images": N, "classes": 101, "features": width, "folds": 5}
        found[name] = TransferRecord([one], {images: right}, {images: np.arange(N) % 5})
    return found


@pytest.mark.parametrize(("share", "verdict"), [(0.8, HOLDS), (0.3, FAILS)])
def test_features_are_compared_over_the_images(share, verdict):
    results = [named("vgg-att", PC2, task="cifar100"), named("vgg", "none", task="cifar100")]
    records = transfers({f"vgg-att-{PC2}-0": share, "vgg-none-0": 0.5})
    found = [claim for claim in evaluate_transfer_claims(results, records) if not claim.missing]
    difference = (share > HARD).astype(float) - (HARD < 0.5)
    (claim,) = found
    assert claim.compared == f"vgg-att {PC2} − vgg none"
    assert (claim.verdict, claim.difference) == (verdict, pytest.approx(difference.mean()))
    assert claim.bounds == bootstrap_interval(difference[None], paired=True)
    assert (claim.source, claim.published) == ("LTPA Table 3", pytest.approx(0.7440 - 0.5420))
    assert claim.group.endswith("→ folder-caltech101-0")
    text = claims_to_text(found)
    assert f"features: 1,024 of vgg-att {PC2} and 512 of vgg none" in text


def test_other_images_and_other_data_sets_have_no_published_values():
    for task, images in (("cifar100", "folder-photos-0"), ("mone", "folder-caltech101-0")):
        results = [named("vgg-att", PC2, task=task), named("vgg", "none", task=task)]
        records = transfers({f"vgg-att-{PC2}-0": 0.8, "vgg-none-0": 0.5}, images)
        found = evaluate_transfer_claims(results, records)
        assert all(math.isnan(claim.published) and claim.source.endswith(OTHER_IMAGES) for claim in found)
        assert [claim.verdict for claim in found] == [HOLDS]


def test_runs_are_compared_only_on_the_same_images():
    results = [named("vgg-att", PC2), named("vgg", "none")]
    records = transfers({f"vgg-att-{PC2}-0": 0.8}) | transfers({"vgg-none-0": 0.5}, "stl10-0")
    found = evaluate_transfer_claims(results, records)
    assert {(claim.verdict, claim.group.rpartition("→ ")[2]) for claim in found} == {(NOT_RUN, "folder-caltech101-0")}
    assert evaluate_transfer_claims(results, {}) == []


def test_the_networks_of_the_claims_exist():
    for entry in {entry for pair in TRANSFER_CLAIMS for entry in pair}:
        resolve(entry.attn, network=entry.network, size=(32, 32))


def test_runs_without_answers_of_their_own_have_claims():
    """The answers file of a run may be missing or damaged; its transfers are read from other files."""
    results = [{**named(n, a, task="cifar100"), "answers": None} for n, a in (("vgg-att", PC2), ("vgg", "none"))]
    records = transfers({f"vgg-att-{PC2}-0": 0.8, "vgg-none-0": 0.5})
    (found,) = [claim for claim in evaluate_transfer_claims(results, records) if not claim.missing]
    assert found.verdict == HOLDS
    assert "features: 1,024 of" in claims_to_text([found])
