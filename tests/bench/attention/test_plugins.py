"""Mechanisms from outside: a user's file, another package, and `bench check`, which says what is wrong with them."""

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import bench
import cli
from bench.attention import MECHANISMS, canonical_name, get_mechanism, known_mechanisms, plugins
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.conformance.checks import check, require_buildable
from bench.runs import experiment, records
from bench.visualization import attention_maps
from mnistref.common.errors import UsageProblemError
from mnistref.variants import VARIANTS

TOP = Path(__file__).parents[3]
EXAMPLE = TOP / "bench" / "examples" / "own_attention.py"
CPU = torch.device("cpu")
HEAD = "import torch\nfrom torch import nn\nfrom bench.attention.base import Changed, Readout, Reading, Scored\n"
GOOD = """
class Own(nn.Module):
    '''Own attention.'''
    def __init__(self, channels, query_dim, width=8):
        super().__init__()
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
    def forward(self, x, query):
        return self.score(x) * self.ask(query)[:, :, None, None]
"""


def written(folder: Path, text: str, name: str = "own.py") -> Path:
    path = folder / name
    path.write_text(HEAD + text)
    return path


def test_the_example_is_short_and_fit():
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.startswith('"""')]
    assert len(code) <= 20
    assert {f.ok for f in check(f"{EXAMPLE}:Compare")} == {True}


def test_the_example_trains_is_recorded_and_found_again(mini, tmp_path):
    copy = tmp_path / "mine.py"
    copy.write_text(EXAMPLE.read_text())
    recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
    config = experiment.configure(
        mini, f"{copy}:Compare:width=8", 0, experiment.RunSettings(recipe, "one", ComputeConfig(CPU))
    )
    assert config.attn.startswith("mine.py:Compare#")
    assert config.attn.endswith(":width=8")
    run = experiment.run(config, mini, tmp_path / "runs")
    assert json.loads((run / "result.json").read_text())["attn"] == config.attn
    places = json.loads((run / "config.json").read_text())[records.USER_FILES]
    assert list(places.values()) == [str(copy)]
    plugins._loaded.clear()
    with pytest.raises(UsageProblemError, match="a recorded name, not a path; give path"):
        bench.create_model(config.attn, variant="mini")
    plugins.load_recorded(places)
    assert bench.create_model(config.attn, variant="mini").readout.attend.key.out_channels == 8
    plugins._loaded.clear()
    copy.write_text("raise SystemExit('run before it was known to be the same')\n")
    with pytest.raises(UsageProblemError, match="has changed since the run"):
        plugins.load_recorded(places)
    copy.unlink()
    with pytest.raises(UsageProblemError, match="restore the file from which"):
        plugins.load_recorded(places)


def test_a_folder_may_have_py_in_its_name(tmp_path):
    (tmp_path / ".pyenv").mkdir()
    path = written(tmp_path / ".pyenv", GOOD)
    assert canonical_name(f"{path}:Own").startswith("own.py:Own#")


def test_an_edited_file_is_another_mechanism(tmp_path):
    first = canonical_name(f"{written(tmp_path, GOOD)}:Own")
    second = canonical_name(f"{written(tmp_path, GOOD + '    # more')}:Own")
    assert first != second
    assert first == canonical_name(f"{written(tmp_path, GOOD)}:Own")
    assert canonical_name(f"none,{tmp_path / 'own.py'}:Own") == f"none,{first}"


def test_a_readout_of_ones_own_acts_in_the_last_slot(tmp_path):
    path = written(
        tmp_path,
        """
class Two(Readout):
    levels = 2
    def __init__(self, channels, query_dim):
        super().__init__()
        self.ask = nn.Linear(query_dim, channels)
    def forward(self, features, query):
        asked = self.ask(query)[:, :, None, None]
        return Reading(torch.cat([(f * asked).mean(dim=(2, 3)) for f in features[-2:]], dim=1).unsqueeze(1), [])
""",
    )
    assert {f.ok for f in check(f"{path}:Two")} == {True}
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
def test_what_cannot_be_loaded_is_said(text, name, message, tmp_path):
    written(tmp_path, text)
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(f"{tmp_path}/{name}", variant="mini")


TRAINING = "in training, the output for an image depends on the other images in the batch"
BODY = """
class Own(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
        {init}
    def forward(self, x, query):
        score = self.score(x) * self.ask(query)[:, :, None, None]
        {forward}
"""


@pytest.mark.parametrize(
    ("init", "forward", "why"),
    [
        ("", "return score.repeat(1, 2, 1, 1)", "one number per position"),
        ("", "return score[:, :, ::2]", "one number per position"),
        ("", "return x", "one number per position"),
        ("", "return 3", "expected a score map"),
        (
            "",
            "return nn.functional.conv2d(score, torch.ones(1, 1, 5, 5))",
            "raises RuntimeError|one number per position",
        ),
        ("", "return Changed(x, 3 * score)", "expected 0 … 1"),
        ("", "return Changed(x * score)[:1]", "expected a score map"),
        ("", "return score / 0", "not finite"),
        ("", "return (score > 0).float()", "no gradient reaches"),
        ("self.spare = nn.Linear(3, 3)", "return score", "no gradient reaches spare.weight"),
        ("", "return score.detach() + self.score(x)", "no gradient reaches ask"),
        (
            "self.mix = torch.ones(1, 1, 1, 1)",
            "return nn.functional.conv2d(score, self.mix)",
            "neither parameter",
        ),
        (
            "import random; self.draw = random.Random(0)",
            "return score * (1 + self.draw.random())",
            "differs between two calls with the same seed",
        ),
        ("", "return score - score.mean()", "when another image of the batch changes"),
        ("", "return score * x.shape[0]", "between batches of 1 and 4 images"),
        (
            "",
            "return score if len(x) < 8 else score * x.mean(1, keepdim=True).square()",
            "between batches of 3 and 32 images",
        ),
        ("", "return score if len(x) <= 50 else score * 1.1", "between batches of 3 and 200 images"),
        ("", "return score.double()", "returns torch.float64, expected torch.float32, .* a score for features"),
        ("", "return Scored(x.double(), score)", "returns torch.float64, expected torch.float32, .* features for"),
        (
            "",
            "return score - score.mean() + 0.01 * torch.randn(score.shape)",
            "when another image of the batch changes",
        ),
        ("", "return score + 1e-3 * score.roll(1, 0)", "when another image of the batch changes"),
        ("", "raise SystemExit(0)", "it raises SystemExit"),
        ("", "return (score * 1e-30).half().float() / 0 if score.dtype == torch.bfloat16 else score * 1.0", "bfloat16"),
        ("self.count = torch.rand(1).item()", "return score * (1 + self.count)", "outside of it"),
    ],
)
def test_check_says_in_plain_words_what_is_wrong(init, forward, why, tmp_path):
    path = written(tmp_path, BODY.format(init=init or "pass", forward=forward))
    wrong = [finding for finding in check(f"{path}:Own") if finding.ok is False]
    assert wrong
    assert any(re.search(why, finding.why) for finding in wrong), wrong


@pytest.mark.parametrize(
    ("forward", "what"),
    [
        ("return self.score(x) + 0 * score", "the query does not change the output"),
        ("return score.sigmoid()", "all scores are in 0 … 1"),
        ("return score + torch.randn(score.shape)", "it is random in evaluation"),
        (
            "return score + torch.randn(score.shape)",
            "not tested: gives the same output for an image alone and in a batch",
        ),
        (
            "return score + torch.randn(1 + int(score[0].sum() > 0) + int(score.sum().abs() * 1e4) % 9)[0]",
            "not tested: gives an output that does not depend on the other images in the batch",
        ),
        ("return score - self.training * score.mean()", f"{TRAINING}, and not only through BatchNorm"),
        (
            "return score - self.training * score.mean() + torch.randn(score.shape)",
            f"{TRAINING}, and not only through BatchNorm",
        ),
    ],
)
def test_check_remarks_on_what_may_be_meant(forward, what, tmp_path):
    path = written(tmp_path, BODY.format(init="pass", forward=forward))
    assert any(finding.what.startswith(what) for finding in check(f"{path}:Own") if finding.ok is None)


def test_batch_norm_of_ones_own_is_told_from_other_leaks(tmp_path):
    path = written(tmp_path, BODY.format(init="self.norm = nn.BatchNorm2d(1)", forward="return self.norm(score)"))
    findings = check(f"{path}:Own")
    assert [(f.what, f.why) for f in findings if f.ok is not True] == [(TRAINING, "through BatchNorm, as usual")]


def test_sampled_is_said_by_the_class(tmp_path):
    forward = "return score + torch.randn(score.shape)"
    silent = written(tmp_path, BODY.format(init="pass", forward=forward))
    assert any("set the class attribute sampled = True" in f.why for f in check(f"{silent}:Own"))
    assert not get_mechanism(f"{silent}:Own").sampled
    body = BODY.format(init="pass", forward="{}").replace("    def __init__", "    sampled = True\n    def __init__")
    said = written(tmp_path, body.format(forward))
    assert get_mechanism(f"{said}:Own").sampled
    assert not any("class attribute" in f.why for f in check(f"{said}:Own"))
    idle = written(tmp_path, body.format("return score"))
    assert "sampled is True, but it is not random in evaluation" in [f.what for f in check(f"{idle}:Own")]


def test_samples_of_ones_own_are_shown(mini, tmp_path):
    body = BODY.format(init="pass", forward="return score + torch.randn(score.shape)")
    for text, draws in (
        (body, False),
        (body.replace("    def __init__", "    sampled = True\n    def __init__"), True),
    ):
        attn = f"{written(tmp_path, text)}:Own"
        recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")
        config = experiment.configure(mini, attn, 0, experiment.RunSettings(recipe, "one", ComputeConfig(CPU)))
        model = bench.create_model(config.attn, variant="mini")
        if draws:
            assert attention_maps._scale_sigma(config, model, 3, None) == 1.0
        else:
            with pytest.raises(UsageProblemError, match="a class of your own with sampled = True"):
                attention_maps._scale_sigma(config, model, 3, None)


def test_what_raises_in_training_alone_is_said(tmp_path):
    path = written(tmp_path, BODY.format(init="pass", forward="return score / (1 if not self.training else None)"))
    assert [f.ok for f in check(f"{path}:Own") if "TypeError" in f.why] == [False]


@pytest.mark.parametrize("name", ["brnn2", "brnn3", "arnn", "pan"])
def test_check_does_not_take_a_small_score_for_a_squashed_one(name):
    assert {finding.ok for finding in check(name)} == {True}


@pytest.mark.parametrize("attn", ["none,arnn", "a,b/own.py:Own"])
def test_check_says_that_slot_lists_are_not_checked(attn):
    with pytest.raises(UsageProblemError, match="slot lists are not checked; give one mechanism"):
        check(attn)


def test_a_path_with_a_comma_is_said_to_be_none():
    with pytest.raises(UsageProblemError, match="a comma separates slots, so a path must not contain one"):
        canonical_name("some/a,b/own.py:Own")


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        ("return score[:, :, ::2]", "one number per position"),
        ("return score - score.mean()", "when another image of the batch changes"),
        ("return Changed(x, 3 * score)", "expected 0 … 1"),
        ("return score / 0", "are not finite"),
    ],
)
def test_a_run_of_what_is_unfit_is_refused(forward, why, tmp_path, checked_here):
    path = written(tmp_path, BODY.format(init="pass", forward=forward))
    arguments = ["run", "--preset", "quick", "--root", str(tmp_path / "root"), "--attn", f"none,{path}:Own"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 6, done.output
    assert "not fit to be benchmarked" in done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_a_run_of_what_does_not_go_with_the_images_is_refused(tmp_path):
    arguments = ["--variant", "mini", "--root", str(tmp_path / "root"), "--attn", "arnn:padding=reflect:context=9"]
    done = CliRunner().invoke(cli.bench, ["run", *arguments])
    assert done.exit_code == 2, done.output
    assert "does not work on images of 48 px" in done.stderr
    assert not (tmp_path / "root").exists()


def test_what_is_fit_is_not_refused():
    require_buildable(f"pan:kernel=3,{EXAMPLE}:Compare:width=8", VARIANTS["mini"])


@pytest.mark.parametrize(
    "name", ["san", "han", "stn-m", "pan-ctx", "arnn", "arnn-sampled", "cbam", "ltpa-dp", "se", "self"]
)
def test_what_the_registry_holds_is_fit(name):
    assert not [finding for finding in check(name) if finding.ok is False]


def test_the_command_says_it_and_exits_with_6(tmp_path, checked_here):
    path = written(tmp_path, BODY.format(init="pass", forward="return score[:, :, ::2]"))
    done = CliRunner().invoke(cli.bench, ["check", f"{path}:Own"])
    assert done.exit_code == 6
    assert "NO    returns the shapes of a slot: returns" in done.stdout
    assert done.stderr.count("\n") == 1
    done = CliRunner().invoke(cli.bench, ["check", f"{EXAMPLE}:Compare", "--json"])
    assert done.exit_code == 0
    assert all(finding["ok"] for finding in json.loads(done.stdout))
    assert CliRunner().invoke(cli.bench, ["check", "none"]).exit_code == 2


def test_an_installed_package_adds_names(monkeypatch, tmp_path):
    written(tmp_path, GOOD, "their_attention.py")
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
        assert {f.ok for f in check("theirs")} == {True}
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


def test_attention_rnn_in_a_network_of_torchvision():
    done = subprocess.run(
        [sys.executable, "-m", "bench.examples.resnet"],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0]
    assert "after stage 1: a map of (24, 24)" in done.stdout


@pytest.mark.parametrize(
    ("attn", "message"),
    [
        ("eca:kernel=-3", "give 1 or more"),
        ("se:reduction=0", "give 1 or more"),
        ("arnn:context=-1", "give 1 or more"),
        ("arnn:width=0", "give 1 or more"),
        ("cbam:kernel=-1", "give 1 or more"),
        ("coord:reduction=0", "give 1 or more"),
        ("han:hidden=-1", "give 1 or more"),
        ("stn-m:grid=0", "give 1 or more"),
        ("unet2:width=-1", "give 1 or more"),
        ("arnn-sampled:sigma_scale=-1", "give 0 or more"),
        ("arnn-sampled:sigma_scale=nan", "give a finite number"),
        ("arnn:sigma_scale=2", "no option 'sigma_scale'"),
        ("arnn-ind:sigma_scale=2", "no option 'sigma_scale'"),
        (f"pan:hidden={10**30}", "pan:hidden=1000"),
    ],
)
def test_options_that_no_mechanism_can_do_with_are_refused(attn, message):
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(attn, variant="mini")


def test_what_is_zero_in_ones_own_class_is_ones_own_affair(tmp_path):
    path = written(tmp_path, GOOD.replace("width=8", "shift=1"))
    assert canonical_name(f"{path}:Own:shift=-2").endswith(":shift=-2")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("channels, query_dim, width", "no value is passed for 'width'; give it a default"),
        ("channels, query_dim, *, width", "no value is passed for 'width'; give it a default"),
        ("channels, query_dim, width=1 / 3", "AttributeError"),
        ("channels, query_dim, width=3", "NameError: .*nowhere"),
        ("channels, query_dim, leave=True", "SystemExit"),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["run", "--preset", "quick", "--attn"]])
def test_a_class_that_cannot_be_made_is_a_usage_error(init, message, command, tmp_path, checked_here):
    body = {"width=3": "nowhere", "leave=True": "raise SystemExit(0)", "width=1 / 3": "width.append(1)"}
    path = written(
        tmp_path,
        f"class Own(nn.Module):\n  def __init__(self, {init}):\n    super().__init__()\n"
        f"    {body.get(init.split(', ')[-1], 'pass')}\n",
    )
    done = CliRunner().invoke(cli.bench, [*command, f"{path}:Own"])
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    assert re.search(message, done.stderr), done.stderr


def beside(folder: Path, factor: float) -> Path:
    """An own file that imports its neighbour, which imports another."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    (folder / "util.py").write_text("from parts import deep\nFACTOR = deep.FACTOR\n")
    (folder / "parts" / "deep.py").write_text(f"FACTOR = {factor}\n")
    return written(folder, "import util\n" + GOOD + "    factor = util.FACTOR\n")


def test_a_file_and_its_neighbours_are_one_mechanism_and_two_folders_share_nothing(tmp_path, monkeypatch):
    paths = [beside(tmp_path / name, factor) for name, factor in (("one", 1.0), ("two", 2.0))]
    monkeypatch.setitem(sys.modules, "util", json)  # as if the program had its own
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


def test_a_file_beside_our_own_packages_does_not_count_them(tmp_path):
    """As in a checkout: what is imported once stays what it is."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "torch.py").write_text("raise RuntimeError('not this one')")
    alone = canonical_name(f"{written(tmp_path, GOOD)}:Own")
    (tmp_path / "elsewhere").mkdir()
    assert alone == canonical_name(f"{written(tmp_path / 'elsewhere', GOOD)}:Own")
    assert sys.modules["bench"] is bench


@pytest.mark.parametrize("what", ["util.py", "parts/deep.py", "own.py"])
def test_a_run_whose_files_neighbour_changed_is_not_found_again(what, tmp_path):
    path = beside(tmp_path, 1.0)
    name = canonical_name(f"{path}:Own")
    places = plugins.recorded_files(name)
    assert [Path(place).name for place in places.values()] == ["own.py", "deep.py", "util.py"]
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


def test_a_run_recorded_without_a_neighbour_is_not_taken_for_one_with_it(tmp_path):
    path = beside(tmp_path, 1.0)
    name = f"own.py:Own#{plugins._digest(path.read_bytes(), {})}"
    with pytest.raises(UsageProblemError, match="or a file it imports, has changed since the run"):
        plugins.load_recorded({name: str(path)})


def test_a_file_that_leaves_is_a_usage_error(tmp_path, checked_here):
    path = written(tmp_path, "import sys\nsys.exit(0)")
    for command in (["check"], ["run", "--attn"]):
        done = CliRunner().invoke(cli.bench, [*command, f"{path}:Own"])
        assert done.exit_code == 2
        assert "executing the file raises SystemExit: 0" in done.stderr


def test_a_file_that_is_imported_anew_is_the_first_one_again_afterwards(tmp_path):
    name = canonical_name(f"{written(tmp_path, GOOD)}:Own:width=4")
    first = get_mechanism(name).cls
    with plugins.imported_anew(name):
        second = get_mechanism(name).cls
    assert second is not first
    assert get_mechanism(name).cls is first
    assert sys.modules[first.__module__].Own is first
    with plugins.imported_anew("arnn"):
        assert get_mechanism("arnn") == MECHANISMS["arnn"]
