"""The command `bench check`: its output and exit codes."""

import json

import pytest
from click.testing import CliRunner

import cli
from bench.networks import NETWORKS
from tests.bench.attention.user_modules import BODY, EXAMPLE, write_module


def test_bench_check_prints_the_findings_and_exits_with_6(tmp_path, checked_here):
    path = write_module(tmp_path, BODY.format(init="pass", forward="return score[:, :, ::2]"))
    done = CliRunner().invoke(cli.bench, ["check", f"{path}:Own"])
    assert done.exit_code == 6
    assert "NO    returns the shapes of a slot: returns" in done.stdout
    assert done.stderr.count("\n") == 1
    done = CliRunner().invoke(cli.bench, ["check", f"{EXAMPLE}:Compare", "--json"])
    assert done.exit_code == 0
    assert all(finding["ok"] for finding in json.loads(done.stdout))
    assert CliRunner().invoke(cli.bench, ["check", "none"]).exit_code == 2


def test_network_all_has_a_verdict_for_each_network(tmp_path, checked_here):
    path = write_module(tmp_path, BODY.format(init="pass", forward="return score[:, :, ::2]"))
    done = CliRunner().invoke(cli.bench, ["check", f"{path}:Own", "--network", "all"])
    assert done.exit_code == 6
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(NETWORKS)
    assert sum(line.startswith("  NO    returns the shapes of a slot") for line in lines) == len(NETWORKS)
    assert f"fit in 0 of {len(NETWORKS)} networks; not in attribute, " in done.stderr
    done = CliRunner().invoke(cli.bench, ["check", f"{path}:Own", "--network", "all", "--json"])
    reports = json.loads(done.stdout)
    assert set(reports) == set(NETWORKS)
    assert all(any(finding["ok"] is False for finding in findings) for findings in reports.values())


@pytest.mark.long_form
def test_example_fits_every_network(checked_here):
    done = CliRunner().invoke(cli.bench, ["check", f"{EXAMPLE}:Compare", "--network", "all"])
    assert done.exit_code == 0, done.output
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["fit:"] * len(NETWORKS)
