"""The checks of `bench check`, and those that a run makes of a user's module before it starts."""

import re

import pytest
from click.testing import CliRunner

import cli
from bench.attention import get_mechanism
from bench.conformance.checks import check_mechanism, require_buildable
from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS
from tests.bench.attention.user_modules import BODY, EXAMPLE, write_module
from tests.helpers import FAMILIES, long_form

TRAINING = "in training, the output for an image depends on the other images in the batch"


REMARKS = [
    ("return self.score(x) + 0 * score", "the query does not change the output"),
    ("return score.sigmoid()", "all scores are in 0 … 1"),
    ("return score + torch.randn(score.shape)", "it is random in evaluation"),
    (
        "return score + torch.randn(score.shape)",
        "not tested: gives the same output for an image alone and in a batch",
    ),
    (
        "return score + torch.randn(1 + int(score[0].sum() > 0) + int(score.sum().abs() * 1e4) % 9)[0]",
        "not tested: gives an output that does not depend on the other images in the batch",
    ),
    ("return score - self.training * score.mean()", f"{TRAINING}, and not only through BatchNorm"),
    (
        "return score - self.training * score.mean() + torch.randn(score.shape)",
        f"{TRAINING}, and not only through BatchNorm",
    ),
]


@pytest.mark.parametrize(
    ("forward", "what"),
    long_form(REMARKS, REMARKS[::2]),
)
def test_check_adds_remarks_on_possibly_intended_behaviour(forward, what, tmp_path):
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    assert any(finding.description.startswith(what) for finding in check_mechanism(f"{path}:Own") if finding.ok is None)


@pytest.mark.parametrize(
    ("forward", "remark"),
    [
        ("return self.score(x) + 0 * score", "the query does not change the map"),
        ("return Scored(x * self.ask(query)[:, :, None, None], self.score(x))", "the query does not change the map"),
        (
            "return self.score(x) + self.ask(query)[:, :, None, None]",
            "in the last slot, the query does not change the map",
        ),
        ("return score", None),
    ],
)
def test_check_notes_a_map_that_ignores_the_query(forward, remark, tmp_path):
    """The output may depend on the query nonetheless: through the features, or through a score that shifts alike."""
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    notes = [
        f.description for f in check_mechanism(f"{path}:Own") if f.ok is None and "change the map" in f.description
    ]
    assert notes == [remark] * (remark is not None)


def test_check_notes_that_the_map_of_ltpa_pc_ignores_the_query():
    findings = check_mechanism("ltpa-pc")
    assert not [finding for finding in findings if finding.ok is False]
    (note,) = [finding for finding in findings if "query" in finding.description and finding.ok is None]
    assert note.description == "the query does not change the map"
    assert "the softmax cancels g" in note.reason
    assert "appends the query before the classifier" in note.reason


def test_check_distinguishes_batch_norm_from_other_batch_dependence(tmp_path):
    path = write_module(tmp_path, BODY.format(init="self.norm = nn.BatchNorm2d(1)", forward="return self.norm(score)"))
    findings = check_mechanism(f"{path}:Own")
    assert [(f.description, f.reason) for f in findings if f.ok is not True] == [
        (TRAINING, "through BatchNorm, as usual")
    ]


def test_check_compares_the_class_attribute_sampled_with_the_output(tmp_path):
    forward = "return score + torch.randn(score.shape)"
    silent = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    assert any("set the class attribute sampled = True" in f.reason for f in check_mechanism(f"{silent}:Own"))
    assert not get_mechanism(f"{silent}:Own").sampled
    body = BODY.format(init="pass", forward="{}").replace("    def __init__", "    sampled = True\n    def __init__")
    said = write_module(tmp_path, body.format(forward))
    assert get_mechanism(f"{said}:Own").sampled
    assert not any("class attribute" in f.reason for f in check_mechanism(f"{said}:Own"))
    idle = write_module(tmp_path, body.format("return score"))
    findings = check_mechanism(f"{idle}:Own")
    assert "sampled is True, but it is not random in evaluation" in [f.description for f in findings]


@pytest.mark.parametrize("attn", ["none,arnn", "a,b/own.py:Own"])
def test_check_says_that_slot_lists_are_not_checked(attn):
    with pytest.raises(UsageProblemError, match="slot lists are not checked; give one mechanism"):
        check_mechanism(attn)


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        ("return score[:, :, ::2]", "one number per position"),
        ("return score - score.mean()", "when another image of the batch changes"),
        ("return Changed(x, 3 * score)", "expected 0 … 1"),
        ("return score / 0", "is not finite"),
    ],
)
def test_a_run_of_an_unfit_module_is_refused(forward, why, tmp_path, checked_here):
    path = write_module(tmp_path, BODY.format(init="pass", forward=forward))
    arguments = ["run", "--preset", "quick", "--root", str(tmp_path / "root"), "--attn", f"none,{path}:Own"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 6, done.output
    assert "not fit to be benchmarked" in done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_a_run_whose_options_do_not_fit_the_image_size_is_refused(tmp_path):
    arguments = ["--variant", "mini", "--root", str(tmp_path / "root"), "--attn", "arnn:padding=reflect:context=9"]
    done = CliRunner().invoke(cli.bench, ["run", *arguments])
    assert done.exit_code == 2, done.output
    assert "does not work on images of 48 px" in done.stderr
    assert not (tmp_path / "root").exists()


def test_fit_network_is_accepted():
    require_buildable(f"pan:kernel=3,{EXAMPLE}:Compare:width=8", VARIANTS["mini"])


@pytest.mark.parametrize("name", long_form(FAMILIES[1:], ["stn-m", "ltpa-dp", "se"]))
def test_mechanisms_of_the_registry_are_fit(name):
    assert not [finding for finding in check_mechanism(name) if finding.ok is False]


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("channels, query_dim, width", "no value is passed for 'width'; give it a default"),
        ("channels, query_dim, *, width", "no value is passed for 'width'; give it a default"),
        ("channels, query_dim, width=1 / 3", "AttributeError"),
        ("channels, query_dim, width=3", "NameError: .*nowhere"),
        ("channels, query_dim, leave=True", "SystemExit"),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["run", "--preset", "quick", "--attn"]])
def test_user_class_that_cannot_be_constructed_is_a_usage_error(init, message, command, tmp_path, checked_here):
    body = {"width=3": "nowhere", "leave=True": "raise SystemExit(0)", "width=1 / 3": "width.append(1)"}
    path = write_module(
        tmp_path,
        f"class Own(nn.Module):\n  def __init__(self, {init}):\n    super().__init__()\n"
        f"    {body.get(init.split(', ')[-1], 'pass')}\n",
    )
    done = CliRunner().invoke(cli.bench, [*command, f"{path}:Own"])
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    assert re.search(message, done.stderr), done.stderr
