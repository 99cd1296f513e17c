"""The command `bench leaderboard`: tables, files, and wrong options."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import cli
from bench.attribution.explain import ExplanationOptions
from bench.attribution.fooling import AttackPlan, FoolingResult
from bench.runs import attack_record, records, saliency_record
from tests.bench.leaderboard.helpers import network_run
from tests.bench.runs.question_cases import make_explanation
from tests.commands import call, run_arguments


def test_run_and_leaderboard_commands_print_their_results(mini, tmp_path):
    runs = tmp_path / "runs"
    for attn in ("san", "pan"):
        result = call(cli.bench, *run_arguments(mini, runs, attn))
        folder = Path(result.stdout.strip())
        assert (folder / "result.json").is_file()
        assert "device: cpu" in result.stderr
        assert "no published results" in result.stderr
    again = call(cli.bench, *run_arguments(mini, runs, "pan"))
    assert "already finished" in again.stderr
    assert Path(again.stdout.strip()) == folder
    board = tmp_path / "board.csv"
    assert call(cli.bench, "leaderboard", "--runs", runs, "-o", board).stdout.strip() == str(board)
    table = pd.read_csv(board)
    assert sorted(table["attn"]) == ["pan", "san"]
    assert 1 in set(table["rank"]) <= {1, 2}
    assert table["relative_runtime"].notna().all()
    shown = call(cli.bench, "leaderboard", "--runs", runs).stdout
    assert "no published results" in shown
    markdown = call(cli.bench, "leaderboard", "--runs", runs, "--markdown").stdout
    assert markdown.startswith("### mini-")
    assert "\n| # | attn | seeds |" in markdown
    (tmp_path / "empty").mkdir()
    assert "no runs here" in call(cli.bench, "leaderboard", "--runs", tmp_path / "empty", code=2).stderr
    assert "unknown variant" in call(cli.bench, "leaderboard", "--runs", runs, "--variant", "x", code=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--claims", "--commands"], "give only one of --check, --save, --output, --commands, --claims and --verdicts"),
        (["--save", "a", "-o", "b.csv"], "give only one of"),
        (["--weights"], "--weights needs --save"),
        (["--baseline", "arn"], "did you mean 'arnn'"),
    ],
)
def test_options_of_the_leaderboard_that_contradict_each_other_are_refused(options, message, tmp_path):
    assert message in call(cli.bench, "leaderboard", "--runs", tmp_path, *options, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_claims_are_evaluated_on_records_of_attacks_and_maps(tmp_path, monkeypatch):
    """The records are in the folders of three runs, whose results are constructed."""
    networks = {"att": ("vgg-att", "ltpa-pc:levels=2"), "vgg": ("vgg", "none"), "gap": ("vgg-gap", "none")}
    results = [{**network_run(*entry, 0.5, task="pets"), "run": name} for name, entry in networks.items()]
    plan = AttackPlan(("fgsm",), ("all",), (4.0,))
    for name in networks:
        changed = {attack: torch.tensor([0, name == "vgg"] * 20, dtype=torch.uint8) for attack in plan.attacks()}
        fooling = FoolingResult(changed, changed, torch.ones(40, dtype=torch.uint8), {"all": torch.ones(40)})
        attack_record.RECORD.write(
            tmp_path / name, attack_record.attack_content("pets-0123456789ab", fooling, plan, 40, "cpu")
        )
        explanation = make_explanation()
        table = explanation.measures["attention"]
        explanation = replace(explanation, measures={"cam" if name == "gap" else "attention": table})
        content = saliency_record.saliency_content("pets-0123456789ab", explanation, ExplanationOptions(), "cpu", "")
        saliency_record.RECORD.write(tmp_path / name, content)
    monkeypatch.setattr(records, "read_nonempty_results", lambda *_: results)
    text = call(cli.bench, "leaderboard", "--runs", tmp_path, "--claims").stdout
    fooled, segmented = (line for line in text.splitlines() if "LTPA Figure" in line)
    assert "LTPA Figure 6, here on another data set" in fooled
    assert "+50.0" in fooled
    assert fooled.rstrip().endswith("holds")
    assert "LTPA Figure 9, here on another data set" in segmented
    assert segmented.rstrip().endswith("undecided")  # the maps are equal
    assert "95 %: over seeds and images\n" in text
