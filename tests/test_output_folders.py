"""Commands that write a file or a folder create the folders above it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from tests.bench.bench_command import TRAINING


@pytest.fixture(scope="module")
def run(mini, tmp_path_factory) -> Path:
    arguments = ["run", "--attn", "san", "--data", mini, "--runs", tmp_path_factory.mktemp("runs"), *TRAINING]
    done = CliRunner().invoke(cli.bench, [*map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return Path(done.stdout.strip())


def test_missing_output_folders_are_created(run, mini, root, tmp_path):
    board = ["--runs", run.parent]
    commands = {
        "report.html": ("bench", ["report", *board, "--root", root, "-o"]),
        "board.csv": ("bench", ["leaderboard", *board, "-o"]),
        "saved": ("bench", ["leaderboard", *board, "--save"]),
        "show.png": ("bench", ["show", run, "--root", root, "--images", 1, "-o"]),
        "bars.svg": (
            "bench",
            ["runtime", "--attn", "none", "--variant", "mini", "--batch", 2, "--rounds", 1, "--plot"],
        ),
        "sheet.png": ("mnistref", ["preview", mini, "--images", 1, "-o"]),
        "laws.svg": ("mnistref", ["stats", mini, "--plot"]),
        "exported": ("mnistref", ["export", mini, "--to", "png", "--split", "val", "-o"]),
    }
    for name, (program, arguments) in commands.items():
        path = tmp_path / name.partition(".")[0] / "b" / name
        done = CliRunner().invoke(getattr(cli, program), [*map(str, arguments), str(path)])
        assert done.exit_code == 0, (name, done.stderr)
        assert path.exists(), name
