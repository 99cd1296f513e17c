"""Help texts whose options stand under headings, and errors about folders."""

import os

import click
import pytest
from click.testing import CliRunner

import cli
from mnistref.common.click_program import Choice, HeadedCommand, headed_option


@click.command(cls=HeadedCommand)
@headed_option("Data", "--images", type=click.IntRange(2, 9), metavar="N", default=3, show_default=True, help="Images.")
@click.option("--plain", help="Without a heading.")
@headed_option("Training", "--rate", type=click.FloatRange(0, 1, min_open=True), metavar="X", help="Rate.")
@headed_option("Data", "--name", help="Text with [brackets; x<=3].")
def command(**_: object) -> None:
    """Do nothing."""


def test_options_stand_under_their_headings_without_ranges():
    lines = [line.strip() for line in CliRunner().invoke(command, ["--help"]).stdout.splitlines() if line.strip()]
    start = lines.index("Data:")
    assert lines[start:] == [
        "Data:",
        "--images N   Images.  [default: 3]",
        "--name TEXT  Text with [brackets; x<=3].",
        "Other options:",
        "--plain TEXT  Without a heading.",
        "--help        Show this message and exit.",
        "Training:",
        "--rate X  Rate.",
    ]


@pytest.mark.parametrize(("option", "value"), [("--images", "1"), ("--rate", "0")])
def test_values_outside_the_range_are_errors_that_name_it(option, value):
    done = CliRunner().invoke(command, [option, value])
    assert done.exit_code == 2
    assert "range" in done.stderr


@pytest.mark.parametrize(
    ("program", "name"), [(cli.bench, "run"), (cli.bench, "sweep"), (cli.mnistref, "generate")], ids=str
)
def test_every_option_of_long_commands_has_a_heading(program, name):
    options = [parameter for parameter in program.commands[name].params if isinstance(parameter, click.Option)]
    assert len(options) > 10
    assert not [option.name for option in options if not getattr(option, "heading", "")]


@pytest.mark.parametrize("program", [cli.bench, cli.mnistref], ids=lambda program: program.name)
def test_every_option_with_a_list_of_values_suggests_names(program):
    types = {parameter.type for command in program.commands.values() for parameter in command.params}
    assert [kind for kind in types if isinstance(kind, click.Choice) and not isinstance(kind, Choice)] == []


@pytest.mark.parametrize("program", [cli.bench, cli.mnistref], ids=lambda program: program.name)
def test_the_list_of_commands_cuts_no_sentence(program):
    commands = CliRunner().invoke(program, ["--help"]).stdout.partition("Commands:")[2]
    assert len(commands.split()) > 20
    assert "..." not in commands


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "there is no such folder; check the path, or give one that exists"),
        ("file", "this is not a folder; give the path of a folder"),
        ("link", "this is not a folder; give the path of a folder"),
        ("folder", "this folder cannot be read; check its permissions"),
    ],
)
def test_a_wrong_folder_is_a_usage_error_that_names_the_option_and_the_path(name, message, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "folder").mkdir()
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path / "folder") and readable(path, mode))
    path = str(tmp_path / name)
    done = CliRunner().invoke(cli.bench, ["evaluate", "model.py:f", "--data", path])
    assert (done.exit_code, done.stderr) == (2, f"error: --data {path}: {message}\n")


READ_FOLDERS = {
    "mnistref": ["preview PATH -o x.png", "stats PATH", "verify PATH", "export PATH --to png -o x"],
    "bench": [
        *("show PATH", "saliency PATH", "attack PATH", "swap PATH", "report --runs PATH", "leaderboard --runs PATH"),
        *("leaderboard --check PATH", "run --attn san --init PATH", "run --attn san --data PATH"),
        *("sweep --attn san --init PATH", "sweep --attn san --data PATH", "evaluate model.py:f --data PATH"),
    ],
}


@pytest.mark.parametrize(
    ("program", "command"), [(program, command) for program, commands in READ_FOLDERS.items() for command in commands]
)
def test_every_command_answers_a_missing_folder_with_the_same_words(program, command, tmp_path):
    path = str(tmp_path / "none")
    done = CliRunner().invoke(getattr(cli, program), command.replace("PATH", path).split())
    assert done.exit_code == 2
    assert done.stderr.endswith(f"{path}: there is no such folder; check the path, or give one that exists\n")
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["leaderboard", "report"])
def test_a_missing_default_folder_is_answered_with_how_to_fill_it(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.bench, [command])
    assert done.exit_code == 2
    assert done.stderr.endswith("data_cache/runs: no runs here; make one with `bench run`, or use --runs\n")
