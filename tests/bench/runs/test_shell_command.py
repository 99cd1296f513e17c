"""The command that repeats a run: parsed by the programs, it gives the same configuration."""

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from bench.config import EVALUATED, RECIPES, RunConfig
from bench.leaderboard.aggregate import build_board
from bench.runs import records
from bench.runs.shell_command import build_command

REQUEST = {
    "variant": "mini",
    "seed": 3,
    "sizes": {"train": 60, "val": 20, "test": 30},
    "digits": "mnist5k",
    "backgrounds": "builtin",
    "pool": "disjoint",
}
FAST = replace(RECIPES["fast"], epochs=1, batch=20, lr=0.001, fade=0.25)
CONFIG = RunConfig("pan:width=8", "mini", "mini-0123456789ab", 0, FAST, "all", "fp32", "cpu")


def test_command_is_one_line_with_every_choice():
    words = shlex.split(build_command(CONFIG, REQUEST, [0, 2]))
    generate, run = words[: words.index("&&")], words[words.index("do") + 1 :]
    assert generate[:2] == ["mnistref", "generate"]
    assert dict(zip(generate[2::2], generate[3::2], strict=True)) == {
        "--variant": "mini",
        "--seed": "3",
        "--train": "60",
        "--val": "20",
        "--test": "30",
        "--digits": "mnist5k",
        "--backgrounds": "builtin",
        "--pool": "disjoint",
        "--root": "data_cache",
    }
    assert run[:2] == ["bench", "run"]
    assert run[-2:] == ["$seed;", "done"]
    assert "for seed in 0 2; do bench run --attn pan:width=8" in build_command(CONFIG, REQUEST, [0, 2])
    for option, value in {
        "--recipe": "fast",
        "--epochs": "1",
        "--batch": "20",
        "--lr": "0.001",
        "--fade": "0.25",
    }.items():
        assert run[run.index(option) + 1] == value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"online": True}, "--online"),
        ({"deterministic": True}, "--deterministic"),
        ({"width": 48}, "--attn pan:width=8 --width 48 --data"),
        ({"precision": "bf16"}, "--precision bf16"),
        ({"device": "cuda", "capture": "graph"}, "--device cuda --precision fp32 --capture graph"),
        ({"attn": "own.py:Class#0123456789ab:width=3"}, "--attn own.py:Class:width=3 --data"),
        ({"attn": "a b.py:Class#0123456789ab"}, "--attn 'a b.py:Class'"),
        ({"recipe": RECIPES["pan"]}, "--recipe pan --batch 200 --epochs 300 --questions one --queries"),
    ],
)
def test_commands_of_other_kinds_of_runs(change, words):
    assert words in build_command(replace(CONFIG, **change), REQUEST, [1])


def test_command_names_the_run_of_the_initial_weights():
    config = replace(CONFIG, init="mref,fast", init_weights="0" * 12)
    command = build_command(config, REQUEST, [0, 1], ["mref-a", "mref-b"])
    assert "--seed 0 --init data_cache/runs/mref-a && bench run" in command
    assert command.endswith("--seed 1 --init data_cache/runs/mref-b")


def test_user_folders_are_placeholders_in_the_command():
    command = build_command(CONFIG, {**REQUEST, "digits": None, "backgrounds": None}, [0])
    assert "--digits DIGITS --backgrounds PHOTOS" in command


def test_command_repeats_the_option_for_unusual_digits():
    assert "--any-digits" not in build_command(CONFIG, REQUEST, [0])
    flags = {"skip_bad": True, "keep_copies": True}
    assert " --pool disjoint --skip-bad --keep-copies --root " in build_command(CONFIG, {**REQUEST, **flags}, [0])
    assert " --pool disjoint --any-digits --root " in build_command(CONFIG, {**REQUEST, "any_digits": True}, [0])


def test_command_has_the_ranges_of_another_law():
    changes = {"scales": [0.5, 1.0], "digits_per_image": [1, 1], "canvas": 60}
    command = build_command(CONFIG, {**REQUEST, **changes}, [0])
    assert " --scales 0.5,1 --digits-per-image 1,1 --canvas 60 && " in command


@pytest.mark.parametrize("request_", [{**REQUEST, "variant": "mone"}, {"task": "cifar10", "canvas": 32}])
def test_commands_for_images_without_a_question_ask_for_none(request_):
    command = build_command(replace(CONFIG, queries="one"), request_, [0])
    assert "--questions" not in command
    assert "--queries" not in command
    odd = replace(CONFIG, recipe=replace(FAST, questions=3))  # as the configuration of an earlier run may have it
    assert "--questions 3 --queries all --device" in build_command(odd, request_, [0])


@pytest.mark.parametrize(
    ("attn", "words"),
    [("own.py:make#0123", "own.py:make"), ("mine#0123456789ab", "FILE.py:FUNCTION --name mine")],
)
def test_a_model_that_was_tested_on_a_task_has_a_command(attn, words):
    config = replace(CONFIG, attn=attn, recipe=EVALUATED, queries="one")
    command = build_command(config, {"task": "folder:DIR", "canvas": 48}, [1])
    data = "--data folder:DIR --canvas 48 --root data_cache"
    assert command == f"bench evaluate {words} {data} --device cpu --seed 1"


def test_recipe_without_matching_options_has_no_command():
    assert build_command(replace(CONFIG, recipe=replace(FAST, clip=1.0)), REQUEST, [0]) is None


def done(line: str) -> list[str]:
    """Return what the programs print for a line: a shell expands the words, and this process calls the programs."""
    says = "; ".join(f"{program}() {{ printf '%s\\0' {program} \"$@\"; echo; }}" for program in ("mnistref", "bench"))
    said = subprocess.run(["bash", "-ec", f"{says}; {line}"], check=True, capture_output=True, text=True).stdout
    printed = []
    for program, *words in (call.split("\0")[:-1] for call in said.splitlines()):
        result = CliRunner().invoke(getattr(cli, program), words)
        assert result.exit_code == 0, result.output
        printed.append(result.stdout.strip())
    return printed


def test_command_executed_in_a_shell_gives_the_same_runs(tmp_path, monkeypatch):
    """The command of a row with two seeds is executed in an empty folder."""
    monkeypatch.chdir(tmp_path)
    config = replace(CONFIG, attn="san", queries="one")
    folder = done(build_command(config, REQUEST, [0]).split(" && ")[0])[0]
    config = replace(config, dataset=Path(folder).name)
    assert done(build_command(config, REQUEST, [0, 2]))[0] == folder
    runs = tmp_path / "data_cache" / "runs"
    (row,) = build_board(records.read_results(runs)).to_dict("records")
    assert row["seeds"] == 2
    assert row["command"] == build_command(config, REQUEST, [0, 2])
    assert {path.name for path in runs.glob("mini-*")} == {replace(config, seed=seed).run_id for seed in (0, 2)}


def test_online_training_names_the_folders_of_the_user():
    online = replace(CONFIG, online=True)
    for change, words in (
        ({}, ""),
        ({"digits": None}, "--digits DIGITS"),
        ({"backgrounds": None}, "--backgrounds PHOTOS"),
        ({"digits": None, "backgrounds": None}, "--digits DIGITS --backgrounds PHOTOS"),
    ):
        run = build_command(online, {**REQUEST, **change}, [0]).partition("&& ")[2]
        assert run.partition("--online ")[2] == f"{words} --seed 0".strip()
        stored = build_command(CONFIG, {**REQUEST, **change}, [0]).partition("&& ")[2]
        assert not {"DIGITS", "PHOTOS"} & {*stored.split()}
