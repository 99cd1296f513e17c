"""Unknown names: the nearest known name is suggested, regardless of case, if one is similar."""

import pytest
from click.testing import CliRunner

import cli
from bench.attention import MECHANISMS
from bench.config import PRESETS, RECIPES
from mnistref.common.errors import (
    DataProblemError,
    RemoteTracebackError,
    RunProblemError,
    did_you_mean,
    format_traceback,
    near_names,
    nearest_name,
)
from mnistref.export import FORMATS
from mnistref.generation.plan import POOLS
from mnistref.sources.digits import NAMES as DIGITS
from mnistref.sources.photos import NAMES as PHOTOS
from mnistref.variants import VARIANTS

REGISTRIES = {
    "mechanisms": [*MECHANISMS],
    "variants": [*VARIANTS],
    "recipes": [*RECIPES],
    "presets": [*PRESETS],
    "formats": [*FORMATS],
    "pools": [*POOLS],
    "digits": [*DIGITS],
    "photos": [*PHOTOS],
    "commands": [*cli.bench.commands, *cli.mnistref.commands],
    "options": [name for command in cli.bench.commands.values() for p in command.params for name in p.opts],
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_nearest_name_ignores_case_and_suggests_nothing_for_unrelated_names(kind):
    for name in REGISTRIES[kind]:
        for spelled in (name, name.upper(), name.capitalize()):
            assert nearest_name(spelled, REGISTRIES[kind]) == name
    for name in ("foo", "xyzzy", "?"):
        assert nearest_name(name, REGISTRIES[kind]) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mgb", ["mbg", "mbgb"]),
        ("MGB", ["mbg", "mbgb"]),
        ("mbg", ["mbg"]),
        ("mbgg", ["mbg", "mbgb"]),
        ("mrfe", ["mref"]),
        ("m", []),
        ("", []),
    ],
)
def test_near_names_include_swapped_letters(name, expected):
    assert near_names(name, ["mref", "mdist", "mbg", "mbgb"]) == expected
    if len(expected) == 2:
        assert did_you_mean(name, ["mref", "mbg", "mbgb"]).startswith("did you mean 'mbg' or 'mbgb'? known: mref, ")


def message_of(program: str, *arguments: str) -> str:
    done = CliRunner().invoke(getattr(cli, program), arguments)
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


GENERATE = ["generate", "--dry-run", "--variant", "mbg", "--digits", "mnist5k"]
CASES = [
    (["bench", "run", "--attn", "PAN"], ["bench", "run", "--attn", "foo"], "did you mean 'pan'?"),
    (["bench", "run", "--attn", "arnn:Hidden=2"], ["bench", "run", "--attn", "arnn:foo=2"], "did you mean 'hidden'?"),
    (
        ["bench", "run", "--attn", "pan", "--variant", "MRef"],
        ["bench", "run", "--attn", "pan", "--variant", "foo"],
        "'mref'",
    ),
    (
        ["bench", "run", "--attn", "pan", "--recipe", "FAST"],
        ["bench", "run", "--attn", "pan", "--recipe", "foo"],
        "'fast'",
    ),
    (["bench", "run", "--preset", "Quick"], ["bench", "run", "--preset", "foo"], "Did you mean 'quick'?"),
    (["bench", "sweep", "--preset", "quik"], ["bench", "sweep", "--preset", "foo"], "Did you mean 'quick'?"),
    (["bench", "attack", ".", "--device", "cude"], ["bench", "attack", ".", "--device", "x"], "Did you mean 'cuda'?"),
    (["bench", "run", "--device", "CPU"], ["bench", "run", "--device", "GPU"], "Did you mean 'cpu'?"),
    (["bench", "run", "--Attn", "pan"], ["bench", "run", "--foo"], "did you mean --attn?"),
    (["bench", "List"], ["bench", "foo"], "did you mean 'list'?"),
    (["bench", "list", "PAN*"], ["bench", "list", "foo"], "did you mean 'pan'?"),
    (
        ["mnistref", *GENERATE, "--digits", "MNIST"],
        ["mnistref", *GENERATE, "--digits", "foo"],
        "did you mean 'mnist'?",
    ),
    (["mnistref", *GENERATE, "--backgrounds", "Sun397"], ["mnistref", *GENERATE, "--backgrounds", "foo"], "'sun397'"),
    (["mnistref", *GENERATE, "--pool", "Pooled"], ["mnistref", *GENERATE, "--pool", "foo"], "did you mean 'pooled'?"),
]


@pytest.mark.parametrize(("near", "far", "hint"), CASES)
def test_commands_suggest_a_near_name_only(near, far, hint):
    assert hint in message_of(*near)
    assert "did you mean" not in message_of(*far).lower()


@pytest.mark.parametrize("attn", ["pan,pan-ctx,pan,pan-ctx,pan", "san,san,san,san,san"])
def test_too_many_mechanisms_are_refused_with_the_number_of_slots(attn):
    """This is reported before "san acts in the last slot only"."""
    expected = f"error: {attn!r}: 5 mechanisms for 4 slots; name 4 or fewer\n"
    assert message_of("bench", "run", "--attn", attn, "--preset", "quick") == expected
    assert message_of("bench", "runtime", "--attn", attn.replace(",", "+"), "--variant", "mini") == expected
    assert message_of("bench", "sweep", "--attn", attn.replace(",", "+"), "--preset", "quick") == expected


def raised_from(error: BaseException, cause: BaseException | None) -> BaseException:
    try:
        raise error from cause
    except BaseException as raised:
        return raised


def test_the_traceback_of_a_foreseen_error_is_that_of_its_cause():
    own = raised_from(KeyError("own"), raised_from(ValueError("first"), None))
    reported = raised_from(RunProblemError("run"), raised_from(DataProblemError("data"), own))
    text = format_traceback(reported)
    assert text == format_traceback(own)
    assert text.count("Traceback (most recent call last)") == 2  # the user's error has a cause itself
    assert text.endswith("KeyError: 'own'")
    remote = raised_from(RunProblemError("run"), RemoteTracebackError(text))
    assert format_traceback(remote) == text
    assert format_traceback(raised_from(DataProblemError("alone"), None)).endswith("DataProblemError: alone")
