"""Options of the commands that ask a finished run questions."""

from pathlib import Path

import click
from click.testing import CliRunner

from bench.cli.question_options import add_question_options


def test_own_options_come_before_the_shared_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    received = []
    decorate = add_question_options(click.option("--strength", type=float, default=0.5), click.option("--region"))
    command = click.command()(decorate(lambda **values: received.append(values)))
    assert [p.name for p in command.params][:4] == ["run", "strength", "region", "images"]
    done = CliRunner().invoke(command, ["folder", "--images", "7", "--json"])
    assert done.exit_code == 0, done.output
    (values,) = received
    assert values.pop("run") == Path("folder").absolute()
    assert values.pop("root") == Path("data_cache").absolute()
    assert values == {
        "strength": 0.5,
        "region": None,
        "images": 7,
        "batch": 50,
        "data": None,
        "device": "auto",
        "as_json": True,
    }
    assert CliRunner().invoke(command, ["folder", "--images", "0"]).exit_code == 2
    assert CliRunner().invoke(command, []).exit_code == 2
