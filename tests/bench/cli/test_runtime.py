"""The command `bench runtime`: its output, and errors of one line."""

import json

import pytest
from click.testing import CliRunner

import cli


def command(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli.bench, ["runtime", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_a_wrong_implementation_is_a_usage_error(monkeypatch):
    for name, message in (("nonsense", "cpu, packed, reference, triton"), ("triton", "on CUDA")):
        monkeypatch.setenv("BENCH_DIAGONAL_LSTM", name)
        assert message in command("--variant", "mini", code=2)
    monkeypatch.setenv("BENCH_DIAGONAL_LSTM", "packed")
    options = ("--attn", "none+none+none+arnn", "--variant", "mini", "--batch", "4", "--rounds", "1")
    rows = json.loads(command(*options, "--json"))["networks"]
    assert [row["diagonal_lstm"] for row in rows] == [None, None, "packed"]


def test_images_have_the_size_of_canvas():
    options = ("--attn", "none", "--variant", "mone", "--canvas", "16", "--width", "4", "--batch", "2", "--rounds", "1")
    assert json.loads(command(*options, "--json"))["setting"]["canvas"] == 16


def test_numbers_are_printed_if_the_chart_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(
        cli.bench,
        ["runtime", "--variant", "mini", "--batch", "4", "--rounds", "1", "--plot", str(tmp_path / "file" / "x.png")],
    )
    assert done.exit_code == 5
    assert "pan-ctx" in done.stdout


def test_runtime_command_prints_json_and_draws_a_chart(tmp_path):
    chart = tmp_path / "bars.png"
    common = ("--attn", "pan", "--attn", "san,none+pan", "--variant", "mini", "--batch", "4", "--rounds", "1")
    found = json.loads(command(*common, "--json", "--plot", str(chart)))
    assert [row["attn"] for row in found["networks"]] == ["san", "pan-ctx", "pan", "none,pan"]
    assert found["setting"]["batch"] == 4
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert "none,pan" in command(*common)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attn", "arn"], "did you mean 'arnn'"),
        (["--variant", "mbgg"], "did you mean"),
        (["--plot", "bars.txt"], "give a name that ends in"),
        (["--device", "cpu", "--precision", "tf32"], "only CUDA devices support it"),
        (["--device", "cpu", "--capture", "graph"], "only CUDA devices support it"),
        (["--recipe", "fats"], "did you mean 'fast'"),
        (["--batch", "1"], "--batch"),
    ],
)
def test_wrong_arguments_of_the_runtime_command(arguments, message):
    assert message in command(*arguments, code=2)
