"""`bench check` and the start of a run refuse modules that would fail later; all module state is saved."""

import pytest
import torch
from click.testing import CliRunner

import cli
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.conformance.checks import check_mechanism, require_buildable
from bench.runs import experiment, records
from bench.runs.network_loading import load_model
from mnistref.common.errors import RunProblemError
from mnistref.variants import VARIANTS
from tests.bench.attention.user_modules import BODY, GOOD, write_module
from tests.helpers import long_form

ERRORS = [
    ("self.n = 0", "self.n += self.training; return score * (1 + self.n)", "resumes from its checkpoint"),
    (
        "import random; self.draw = random.random",
        "return score * (1 + self.training * self.draw())",
        "the same seed",
    ),
    ("", "return score + x.view(len(x), -1)[:, :1, None, None]", "a training step raises RuntimeError: view size"),
    ("", "return score if len(x) > 1 else score[0]", "one number per position"),
    ("self.at = nn.Parameter(torch.zeros(25, 25))", "return score + self.at", "must match the size"),
    ("", "return (score, score) if self.training else score", "in training; expected a score map"),
    ("", "return score + query[:, 9, None, None, None] * x[:, :1]", "index 9 is out of bounds"),
    ("", "return score if x.shape[2] < 99 else score[:, :, 1:]", "one number per position"),
    ("", "assert self.training or len(x) < 5; return score", "a test with batches of 32 images raises Assertion"),
    ("", "assert len(x) < 51; return score", "a test with batches of 200 images raises AssertionError"),
    ("", "assert not self.training or len(x) < 5; return score", "a training step of 32 images raises Assertion"),
    ("", "return score / (self.training or len(x) < 5)", "the answers to 32 of 32 questions are not finite"),
]


@pytest.mark.parametrize(
    ("init", "forward", "why"),
    long_form(ERRORS, ERRORS[::2]),
)
def test_check_detects_errors_that_a_run_would_raise(init, forward, why, tmp_path):
    path = write_module(tmp_path, BODY.format(init=init or "pass", forward=forward))
    wrong = [finding for finding in check_mechanism(f"{path}:Own") if finding.ok is False]
    assert any(why in finding.reason for finding in wrong), wrong


TOPS = [
    ("KEYS = torch.randn(1)", "return score * KEYS", False),
    ("import util", "return score * util.KEYS", False),
    ("KEYS = {}", "return score * KEYS.setdefault(x.shape[1], torch.randn(1))", False),
    ("KEYS = torch.linspace(1, 2, 3)", "return score * KEYS[1]", True),
    ("KEYS = torch.randn(1, generator=torch.Generator().manual_seed(7))", "return score * KEYS", True),
]


@pytest.mark.parametrize(
    ("top", "forward", "fit"),
    long_form(TOPS, TOPS[::2]),
)
def test_network_has_equal_outputs_after_its_file_is_imported_again(top, forward, fit, tmp_path):
    (tmp_path / "util.py").write_text("import torch\nKEYS = torch.randn(1)\n")
    path = write_module(tmp_path, f"{top}\n{BODY.format(init='pass', forward=forward)}")
    wrong = [
        finding.reason
        for finding in check_mechanism(f"{path}:Own")
        if finding.description == "has its whole state in its state_dict"
    ]
    assert bool(wrong[0]) != fit
    if not fit:
        assert "after the file is imported again; store the state of the network in parameters or buffers" in wrong[0]
        with pytest.raises(RunProblemError, match="failed check: has its whole state in its state_dict"):
            require_buildable(f"{path}:Own", VARIANTS["mini"])


KEPT = """
class Kept(Own):
    '''Two parameters that are one, buffers that are parts of another one, a parameter that is not trained, and a
    tensor that is no buffer.'''
    def __init__(self, channels, query_dim):
        super().__init__(channels, query_dim)
        self.again = nn.Conv2d(channels, 1, 1)
        self.again.weight = self.score.weight
        self.register_buffer("fine", torch.linspace(0, 1, 64))
        self.register_buffer("coarse", self.fine[:32])
        self.register_buffer("even", self.fine[::2])
        self.fixed = nn.Parameter(torch.ones(()), requires_grad=False)
        self.version = torch.tensor(2)
    def forward(self, x, query):
        return super().forward(x, query) * self.fixed + self.again(x)
    def get_extra_state(self):
        return self.version
    def set_extra_state(self, state):
        self.version = state
"""


def test_every_kind_of_module_state_is_saved(mini, tmp_path):
    attn = f"{write_module(tmp_path, GOOD + KEPT)}:Kept"
    assert not [finding for finding in check_mechanism(attn) if finding.ok is False]
    recipe = Recipe("fast", "adam", lr=0.003, batch=25, epochs=1, schedule="onecycle")
    config = experiment.configure(
        mini, attn, 0, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
    )
    run = experiment.run(config, mini, tmp_path / "runs")
    inner = load_model(run)[1].readout.attend
    assert inner.again.weight is inner.score.weight
    assert torch.equal(inner.fine[::2], inner.even)
    assert inner.coarse.data_ptr() == inner.fine.data_ptr()
    assert (inner.fixed.item(), inner.fixed.requires_grad) == (1, False)
    assert inner.version == 2
    again = experiment.run(config, mini, tmp_path / "again")
    assert (again / records.WEIGHTS).read_bytes() == (run / records.WEIGHTS).read_bytes()


def test_module_state_other_than_tensors_is_refused_before_the_run(tmp_path, checked_here):
    state = "    def get_extra_state(self): return {'version': 2}\n    def set_extra_state(self, state): pass\n"
    path = write_module(tmp_path, GOOD + state)
    wrong = [finding for finding in check_mechanism(f"{path}:Own") if finding.ok is False]
    assert "_extra_state in its state_dict is of type dict" in wrong[0].reason
    arguments = ["run", "--preset", "quick", "--root", str(tmp_path / "root"), "--attn", f"{path}:Own"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert (done.exit_code, (tmp_path / "root").exists()) == (6, False)
    assert "store it as a buffer" in done.stderr
