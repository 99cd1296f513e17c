"""Mechanisms from outside: a user's file, another package, and `bench check`, which says what is wrong with them."""

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
from bench import plugins, records, sweep
from bench.attention import MECHANISMS, canonical_name, get_mechanism, known_mechanisms
from bench.check import check
from bench.config import Recipe
from mnistref.errors import UsageProblemError

TOP = Path(__file__).parents[2]
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
    config = sweep.configure(mini, f"{copy}:Compare:width=8", 0, recipe, "one", "fp32", CPU)
    assert config.attn.startswith("mine.py:Compare#")
    assert config.attn.endswith(":width=8")
    run = sweep.run(config, mini, tmp_path / "runs", CPU)
    assert json.loads((run / "result.json").read_text())["attn"] == config.attn
    places = json.loads((run / "config.json").read_text())[records.PLACES]
    assert list(places.values()) == [str(copy)]
    plugins._loaded.clear()
    with pytest.raises(UsageProblemError, match="give its path"):
        bench.create_model(config.attn, variant="mini")
    plugins.find_again(places)
    assert bench.create_model(config.attn, variant="mini").readout.attend.key.out_channels == 8
    plugins._loaded.clear()
    copy.write_text("raise SystemExit('run before it was known to be the same')\n")
    with pytest.raises(UsageProblemError, match="not the file this run was made with"):
        plugins.find_again(places)
    copy.unlink()
    with pytest.raises(UsageProblemError, match="put the file there"):
        plugins.find_again(places)


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
        (GOOD, "own.py", "did you mean|defines no module"),
        (GOOD, "missing.py:Own", "No such file"),
        ("x = 1", "own.py:Own", "defines no torch.nn.Module"),
        ("raise RuntimeError('boom')", "own.py:Own", "fails when it is run: RuntimeError: boom"),
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
        ("", "return score.repeat(1, 2, 1, 1)", "one number a position"),
        ("", "return score[:, :, ::2]", "one number a position"),
        ("", "return x", "one number a position"),
        ("", "return 3", "wanted a score map"),
        ("", "return nn.functional.conv2d(score, torch.ones(1, 1, 5, 5))", "raises RuntimeError|one number a position"),
        ("", "return Changed(x, 3 * score)", "wanted 0 … 1"),
        ("", "return Changed(x * score)[:1]", "wanted a score map"),
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
            "differs from call to call",
        ),
        ("", "return score - score.mean()", "when others are in the batch"),
        ("", "return (score * 1e-30).half().float() / 0 if score.dtype == torch.bfloat16 else score * 1.0", "bfloat16"),
        ("self.count = torch.rand(1).item()", "return score * (1 + self.count)", "outside of it"),
    ],
)
def test_check_says_in_plain_words_what_is_wrong(init, forward, why, tmp_path):
    import re

    path = written(tmp_path, BODY.format(init=init or "pass", forward=forward))
    wrong = [finding for finding in check(f"{path}:Own") if finding.ok is False]
    assert wrong
    assert any(re.search(why, finding.why) for finding in wrong), wrong


@pytest.mark.parametrize(
    ("forward", "what"),
    [
        ("return self.score(x) + 0 * score", "the query changes nothing"),
        ("return score.sigmoid()", "the score lies in 0 … 1"),
        ("return score + torch.randn(score.shape)", "it draws anew in evaluation"),
    ],
)
def test_check_remarks_on_what_may_be_meant(forward, what, tmp_path):
    path = written(tmp_path, BODY.format(init="pass", forward=forward))
    assert what in [finding.what for finding in check(f"{path}:Own") if finding.ok is None]


@pytest.mark.parametrize(
    "name", ["san", "han", "stn-m", "pan-ctx", "arnn", "arnn-sampled", "cbam", "ltpa-dp", "se", "self"]
)
def test_what_the_registry_holds_is_fit(name):
    assert not [finding for finding in check(name) if finding.ok is False]


def test_the_command_says_it_and_exits_with_6(tmp_path):
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
