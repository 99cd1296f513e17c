"""Options of the commands that ask a finished run questions."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli.question_options import add_question_options, find_data_of_run
from mnistref.common.errors import UsageProblemError


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


def test_data_of_a_run_are_found_and_must_fit(trained, mini, make, tmp_path):
    assert find_data_of_run(trained, None, mini.parent.parent) == mini
    assert find_data_of_run(trained, mini, tmp_path) == mini
    with pytest.raises(UsageProblemError, match="10 classes, but this network, trained on mini"):
        find_data_of_run(trained, make("miniinv"), tmp_path)
