"""Mechanisms from a user's file or from an installed package."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import bench
import cli
from bench.attention import MECHANISMS, canonical_name, get_mechanism, known_mechanisms, plugins, resolve_network
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.conformance.checks import check_mechanism
from bench.runs import experiment
from bench.visualization import attention_maps
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.user_modules import BODY, GOOD, TWO_LEVELS, write_module
from tests.helpers import TOP


def test_folder_of_a_user_file_may_have_py_in_its_name(tmp_path):
    (tmp_path / ".pyenv").mkdir()
    path = write_module(tmp_path / ".pyenv", GOOD)
    assert canonical_name(f"{path}:Own").startswith("own.py:Own#")


def test_edited_user_file_is_another_mechanism(tmp_path):
    first = canonical_name(f"{write_module(tmp_path, GOOD)}:Own")
    second = canonical_name(f"{write_module(tmp_path, GOOD + '    # more')}:Own")
    assert first != second
    assert first == canonical_name(f"{write_module(tmp_path, GOOD)}:Own")
    assert canonical_name(f"none,{tmp_path / 'own.py'}:Own") == f"none,{first}"


def test_a_user_readout_acts_in_the_last_slot(tmp_path):
    path = write_module(tmp_path, TWO_LEVELS)
    assert {f.ok for f in check_mechanism(f"{path}:Two")} == {True}
    model = bench.create_model(f"pan,{path}:Two", variant="mini")
    assert len(model(torch.rand(2, 3, 48, 48), torch.tensor([1, 2])).masks) == 1


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (GOOD, "own.py:Owm", "did you mean 'Own'"),
        (GOOD, "own.py", "give a class, one of .*own.py:Own$"),
        ("raise SystemExit(0)", "own.py:Own", "executing the file raises SystemExit: 0"),
        (GOOD, "missing.py:Own", "No such file"),
        ("x = 1", "own.py:Own", "defines no torch.nn.Module"),
        ("raise RuntimeError('boom')", "own.py:Own", "executing the file raises RuntimeError: boom"),
        ("class Own(nn.Module:\n  pass", "own.py:Own", "SyntaxError"),
        (
            "class Own(nn.Module):\n  def __init__(self):\n    super().__init__()",
            "own.py:Own",
            "Class.channels, query_dim",
        ),
        (GOOD, "own.py:Own:widht=3", "did you mean 'width'"),
    ],
)
def test_user_class_that_cannot_be_loaded_is_a_usage_error(text, name, message, tmp_path):
    write_module(tmp_path, text)
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(f"{tmp_path}/{name}", variant="mini")


def test_samples_of_a_user_module_are_shown(mini, tmp_path):
    body = BODY.format(init="pass", forward="return score + torch.randn(score.shape)")
    for text, draws in (
        (body, False),
        (body.replace("    def __init__", "    sampled = True\n    def __init__"), True),
    ):
        attn = f"{write_module(tmp_path, text)}:Own"
        recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
        config = experiment.configure(
            mini, attn, 0, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
        )
        model = bench.create_model(config.attn, variant="mini")
        if draws:
            assert attention_maps._scale_sigma(config, model, attention_maps.MapOptions(3, None)) == 1.0
        else:
            with pytest.raises(UsageProblemError, match="a class of your own with sampled = True"):
                attention_maps._scale_sigma(config, model, attention_maps.MapOptions(3, None))


def test_user_file_path_with_a_comma_is_a_usage_error():
    with pytest.raises(UsageProblemError, match="a comma separates slots, so a path must not contain one"):
        canonical_name("some/a,b/own.py:Own")


def test_installed_package_adds_mechanism_names(monkeypatch, tmp_path):
    write_module(tmp_path, GOOD, "their_attention.py")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("theirs", "their_attention:Own", plugins.GROUP),
        EntryPoint("broken", "gone:Own", plugins.GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == plugins.GROUP else [])
    plugins.installed.cache_clear()
    try:
        assert set(known_mechanisms()) == {*MECHANISMS, "theirs", "broken"}
        assert canonical_name("theirs:width=4") == "theirs:width=4"
        assert {f.ok for f in check_mechanism("theirs")} == {True}
        assert not get_mechanism("theirs").sampled
        monkeypatch.setattr(get_mechanism("theirs").cls, "sampled", True, raising=False)
        assert get_mechanism("theirs").sampled
        with pytest.raises(UsageProblemError, match="did you mean 'theirs'"):
            get_mechanism("their")
        with pytest.raises(UsageProblemError, match="broken: cannot be imported"):
            bench.create_model("broken", variant="mini")
        listed = CliRunner().invoke(cli.bench, ["list", "th*", "--json"])
        assert [m["name"] for m in json.loads(listed.stdout)] == ["theirs"]
    finally:
        plugins.installed.cache_clear()


def test_options_of_a_user_class_may_be_negative(tmp_path):
    path = write_module(tmp_path, GOOD.replace("width=8", "shift=1"))
    assert canonical_name(f"{path}:Own:shift=-2").endswith(":shift=-2")


def beside(folder: Path, factor: float) -> Path:
    """Write a user file that imports a second file, which imports a third."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    (folder / "util.py").write_text("from parts import deep\nFACTOR = deep.FACTOR\n")
    (folder / "parts" / "deep.py").write_text(f"FACTOR = {factor}\n")
    return write_module(folder, "import util\n" + GOOD + "    factor = util.FACTOR\n")


def test_imported_files_belong_to_the_mechanism_and_folders_share_no_modules(tmp_path, monkeypatch):
    paths = [beside(tmp_path / name, factor) for name, factor in (("one", 1.0), ("two", 2.0))]
    monkeypatch.setitem(sys.modules, "util", json)  # as if the program had already imported a module of this name
    first, second = canonical_name(f"{paths[0]}:Own,{paths[1]}:Own").split(",")
    assert first != second
    assert [get_mechanism(name).cls.factor for name in (first, second)] == [1.0, 2.0]
    assert sys.modules["util"] is json
    assert "parts.deep" not in sys.modules
    assert not list(tmp_path.rglob("__pycache__"))
    beside(tmp_path / "one", 3.0)
    third = canonical_name(f"{paths[0]}:Own")
    assert third not in (first, second)
    assert get_mechanism(third).cls.factor == 3.0
    beside(tmp_path / "one", 1.0)
    assert canonical_name(f"{paths[0]}:Own") == first


def test_name_of_a_user_file_ignores_project_packages_in_its_folder(tmp_path):
    """In a checkout, packages that are already imported are not replaced."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "torch.py").write_text("raise RuntimeError('not this one')")
    alone = canonical_name(f"{write_module(tmp_path, GOOD)}:Own")
    (tmp_path / "elsewhere").mkdir()
    assert alone == canonical_name(f"{write_module(tmp_path / 'elsewhere', GOOD)}:Own")
    assert sys.modules["bench"] is bench


@pytest.mark.parametrize("what", ["util.py", "parts/deep.py", "own.py"])
def test_a_recorded_module_is_refused_when_a_file_that_it_imports_has_changed(what, tmp_path):
    path = beside(tmp_path, 1.0)
    network = resolve_network(f"se,{path}:Own,none,{path}:Own", 8)
    name, places = network.named[1].name, network.files
    assert {*places} == {name, f"{name}/util.py", f"{name}/parts/deep.py"}
    assert [Path(place).name for place in places.values()] == ["own.py", "deep.py", "util.py"]
    assert plugins.recorded_files(network.name) == places
    plugins._loaded.clear()
    plugins.load_recorded(places)
    assert get_mechanism(name).cls.factor == 1.0
    plugins._loaded.clear()
    file = tmp_path / what
    kept = file.read_text()
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{kept}")
    with pytest.raises(UsageProblemError, match="has changed since the run"):
        plugins.load_recorded(places)
    assert not (tmp_path / "ran").exists()
    file.unlink()
    with pytest.raises(UsageProblemError, match="restore the file from which"):
        plugins.load_recorded(places)


def test_run_recorded_without_an_imported_file_is_another_run(tmp_path):
    path = beside(tmp_path, 1.0)
    name = f"own.py:Own#{plugins.hash_source(path.read_bytes(), {})}"
    with pytest.raises(UsageProblemError, match="or a file it imports, has changed since the run"):
        plugins.load_recorded({name: str(path)})


def test_a_user_file_that_exits_is_a_usage_error(tmp_path, checked_here):
    path = write_module(tmp_path, "import sys\nsys.exit(0)")
    for command in (["check"], ["run", "--attn"]):
        done = CliRunner().invoke(cli.bench, [*command, f"{path}:Own"])
        assert done.exit_code == 2
        assert "executing the file raises SystemExit: 0" in done.stderr


def test_reimported_user_file_is_restored_afterwards(tmp_path):
    name = canonical_name(f"{write_module(tmp_path, GOOD)}:Own:width=4")
    first = get_mechanism(name).cls
    with plugins.imported_anew(name):
        second = get_mechanism(name).cls
    assert second is not first
    assert get_mechanism(name).cls is first
    assert sys.modules[first.__module__].Own is first
    with plugins.imported_anew("arnn"):
        assert get_mechanism("arnn") == MECHANISMS["arnn"]


@pytest.mark.parametrize("command", [["check"], ["run", "--attn"], ["sweep", "--attn"]])
def test_a_missing_user_file_is_reported_without_pytorch(command, tmp_path):
    arguments = [*command, f"{tmp_path / 'missing.py'}:Own"]
    code = f"import sys, cli\ntry: cli.bench.main({arguments!r})\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n"), done.stderr
    assert done.stderr == f"error: {tmp_path}/missing.py: No such file or directory; give path/to/file.py:Class\n"
