"""The checks of a module in a slot: what each refuses, and where the first stops the others."""

import re

import pytest

from bench.conformance.checks import check_mechanism, describe_verdict
from tests.bench.attention.user_modules import BODY, write_module
from tests.helpers import long_form

VIOLATIONS = [
    ("", "return score.repeat(1, 2, 1, 1)", "one number per position"),
    ("", "return score[:, :, ::2]", "one number per position"),
    ("", "return x", "one number per position"),
    ("", "return 3", "expected a score map"),
    (
        "",
        "return nn.functional.conv2d(score, torch.ones(1, 1, 5, 5))",
        "raises RuntimeError|one number per position",
    ),
    ("", "return Changed(x, 3 * score)", "expected 0 … 1"),
    ("", "return Changed(x * score)[:1]", "expected a score map"),
    ("", "return score / 0", "not finite"),
    ("", "return (score > 0).float()", "no gradient reaches"),
    ("self.spare = nn.Linear(3, 3)", "return score", "no gradient reaches spare.weight"),
    ("", "return score.detach() + self.score(x)", "no gradient reaches ask"),
    (
        "self.mix = torch.ones(1, 1, 1, 1)",
        "return nn.functional.conv2d(score, self.mix)",
        "neither parameter",
    ),
    (
        "import random; self.draw = random.Random(0)",
        "return score * (1 + self.draw.random())",
        "differs between two calls with the same seed",
    ),
    ("", "return score - score.mean()", "when another image of the batch changes"),
    ("", "return score + torch.linspace(-1, 1, x.shape[3], dtype=x.dtype)", "fails on another device than the CPU"),
    ("", "x.mul_(2); return score", "changes its input in place, the features"),
    ("", "query.zero_(); return score", "changes its input in place, the query"),
    ("", "return score * x.shape[0]", "between batches of 1 and 4 images"),
    (
        "",
        "return score if len(x) < 8 else score * x.mean(1, keepdim=True).square()",
        "between batches of 3 and 32 images",
    ),
    ("", "return score if len(x) <= 50 else score * 1.1", "between batches of 3 and 200 images"),
    ("", "return score.double()", "returns torch.float64, expected torch.float32, .* a score for features"),
    ("", "return Scored(x.double(), score)", "returns torch.float64, expected torch.float32, .* features for"),
    (
        "",
        "return score - score.mean() + 0.01 * torch.randn(score.shape)",
        "when another image of the batch changes",
    ),
    ("", "return score + 1e-3 * score.roll(1, 0)", "when another image of the batch changes"),
    ("", "raise SystemExit(0)", "it raises SystemExit"),
    ("", "return (score * 1e-30).half().float() / 0 if score.dtype == torch.bfloat16 else score * 1.0", "bfloat16"),
    ("self.count = torch.rand(1).item()", "return score * (1 + self.count)", "outside of it"),
]


@pytest.mark.parametrize(
    ("init", "forward", "why"),
    long_form(VIOLATIONS, VIOLATIONS[::2]),
)
def test_check_names_each_violation(init, forward, why, tmp_path):
    path = write_module(tmp_path, BODY.format(init=init or "pass", forward=forward))
    wrong = [finding for finding in check_mechanism(f"{path}:Own") if finding.ok is False]
    assert wrong
    assert any(re.search(why, finding.reason) for finding in wrong), wrong


@pytest.mark.parametrize(
    ("forward", "output", "kind"),
    [
        ("return (score - score.abs() - 1).log()", "the score", "NaN"),
        ("return score / 0", "the score", "infinite"),
        ("return score - torch.inf", "the score", "infinite"),
        ("return score.log() if self.training else score", "the score", "NaN .* in training"),
        ("return Scored(x / 0, score)", "features", "NaN"),
        ("return Changed(x, (score - torch.inf).softmax(2))", "map 0", "NaN"),
    ],
)
def test_check_stops_at_the_first_output_that_is_not_finite(forward, output, kind, tmp_path):
    """No finding follows, such as "differs between two calls", because NaN differs from itself."""
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    *before, last = check_mechanism(f"{path}:Own")
    assert [finding.ok for finding in before] == [True, True]
    assert last.ok is False
    assert re.match(f"{output} that forward returns is not finite: {kind}", last.reason), last.reason
    assert last.reason.endswith("; forward is in own.py:10"), last.reason
    assert describe_verdict([*before, last]).startswith("not fit: 1 of 3 checks failed, the others omitted: ")


def test_a_score_may_be_minus_infinity_at_some_positions(tmp_path):
    forward = "return torch.where(torch.arange(score.shape[3]) > 0, -torch.inf, score)"
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    assert {f.description: f.ok for f in check_mechanism(f"{path}:Own")}["returns finite values, and maps in 0 … 1"]


def test_check_reports_an_error_in_training_only(tmp_path):
    path = write_module(tmp_path, BODY.format(init="pass", forward="return score / (1 if not self.training else None)"))
    assert [f.ok for f in check_mechanism(f"{path}:Own") if "TypeError" in f.reason] == [False]


@pytest.mark.parametrize("name", long_form(["brnn2", "brnn3", "arnn", "pan"], ["brnn2"]))
def test_check_distinguishes_small_scores_from_squashed_scores(name):
    """These mechanisms are fit, without a remark."""
    assert {finding.ok for finding in check_mechanism(name)} == {True}
