"""The command `bench check`: its output and exit codes."""

import json

from click.testing import CliRunner

import cli
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
