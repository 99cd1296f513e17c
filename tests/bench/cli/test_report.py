"""The command `bench report`: the file that it writes, and wrong arguments."""

import pytest

import cli
from tests.bench.bench_command import bench


def test_report_without_runs_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.bench.main(["report", "--runs", str(tmp_path), "--out", str(tmp_path / "r.html")])
    assert ended.value.code == 2
    assert "no runs here" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_report_of_an_unknown_variant_is_a_usage_error(tmp_path):
    code, out, said = bench("report", "--runs", tmp_path, "--variant", "mreff", "--out", tmp_path / "r.html")
    assert (code, out) == (2, "")
    assert "did you mean 'mref'" in said
    assert not (tmp_path / "r.html").exists()
