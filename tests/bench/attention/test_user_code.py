"""Errors of user code name the user's file and line, and their tracebacks are stored."""

import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from bench.attention import plugins, user_code
from bench.conformance.checks import Finding, check_mechanism, describe_verdict
from bench.evaluation.columns import COSTS
from bench.runs import records
from mnistref.common.errors import UsageProblemError
from tests.bench.bench_command import TRAINING

EXAMPLE = Path(__file__).parents[3] / "bench" / "examples" / "own_attention.py"
MODULE = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        self.score, self.calls = nn.Conv2d(channels + query_dim, 1, 1), 0
        {init}

    def forward(self, x, query):
        self.calls += 1
        {forward}
        return self.score(torch.cat([x, query[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))

    def later(self, x):
        {later}
"""


def write_module(folder: Path, init: str = "pass", forward: str = "pass", later: str = "pass") -> Path:
    path = folder / "own.py"
    path.write_text(MODULE.format(init=init, forward=forward, later=later))
    return path


def line_of(path: Path, text: str) -> str:
    """Return the name of a file and the number of the line with this text."""
    lines = path.read_text().splitlines()
    return f"{path.name}:{1 + next(k for k, line in enumerate(lines) if text in line)}"


def call(*arguments: object, code: int):
    done = CliRunner().invoke(cli.bench, [str(argument) for argument in arguments])
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("import torch\nclass Own(torch.nn.Module)\n    pass\n", 2, "SyntaxError: expected ':'"),
        ("\n\nimport no_such_package\n", 3, "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("raise ValueError('one\\n  two')\n", 1, "ValueError: one two"),
        ("raise SystemExit('bye')\n", 1, "SystemExit: bye"),
        ("raise MemoryError\n", 1, "MemoryError"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError: "),
    ],
)
def test_user_file_that_cannot_be_executed_is_reported_with_the_line(source, line, reason, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(source)
    with pytest.raises(UsageProblemError, match=rf"executing the file raises {re.escape(reason)}") as error:
        plugins.load_user_class(f"{path}:Own")
    assert str(error.value).endswith(f" (own.py:{line})")
    assert "\n" not in str(error.value)


def test_error_in_an_imported_file_is_reported_with_its_line(tmp_path):
    path = write_module(tmp_path)
    path.write_text("from parts import near\n" + path.read_text())
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "near.py").write_text("import torch\nx = torch.zeros(2) + torch.zeros(3)\n")
    with pytest.raises(UsageProblemError, match=r"RuntimeError: The size .* \(parts/near\.py:2\)$"):
        plugins.load_user_class(f"{path}:Own")


CALLS = {
    "forward": ("pass", "raise RuntimeError('one\\n two')", "pass", "raise RuntimeError", "RuntimeError: one two"),
    "a helper": ("pass", "self.later(x)", "x.view(7)", "x.view(7)", "RuntimeError: shape '[7]' is invalid"),
    "memory": ("pass", "torch.empty(10**13, 1000)", "pass", "torch.empty", "RuntimeError: "),
    "no message": ("pass", "raise MemoryError", "pass", "raise MemoryError", "MemoryError ("),
    "evaluation": ("pass", "assert self.training, 'not now'", "pass", "assert", "AssertionError: not now"),
    "training": ("pass", "self.training and {}['key']", "pass", "['key']", "KeyError: 'key'"),
    "exit": ("pass", "raise SystemExit(3)", "pass", "SystemExit", "SystemExit: 3"),
    "cause": (
        "pass",
        "try: x.nothing\n        except AttributeError as e: raise Unknown from e",
        "pass",
        "except",
        "NameError",
    ),
}


@pytest.mark.parametrize("kind", CALLS)
def test_errors_of_forward_are_reported_with_their_line(kind, tmp_path):
    init, forward, later, text, reason = CALLS[kind]
    path = write_module(tmp_path, init, forward, later)
    finding = check_mechanism(f"{path}:Own")[-1]
    assert finding.ok is False
    assert reason in finding.reason
    assert finding.reason.endswith(f"({line_of(path, text)})")
    assert "\n" not in finding.reason
    assert f'{path}", line {line_of(path, text).partition(":")[2]}' in finding.traceback


def test_a_wrong_shape_names_the_line_of_forward(tmp_path):
    path = write_module(tmp_path, forward="return x.mean((2, 3))")
    assert check_mechanism(f"{path}:Own")[-1].reason.endswith(f"; forward is in {line_of(path, 'def forward')}")


def test_errors_in_prepare_and_answer_are_reported_with_their_line(tmp_path):
    path = write_module(tmp_path)
    base = path.read_text().replace("class Own(", "class Base(")
    base += "\nclass Own(Base):\n    def prepare(self, x):\n        {}\n        return x\n"
    base += "    def answer(self, prepared, query):\n        {}\n        return self.forward(prepared, query)\n"
    for prepare, answer, fault in (("x.first", "pass", "x.first"), ("pass", "prepared.second", "prepared.second")):
        path.write_text(base.format(prepare, answer))
        failed = [finding.reason for finding in check_mechanism(f"{path}:Own") if finding.ok is False]
        assert failed
        assert all(why.endswith(f"({line_of(path, fault)})") for why in failed)


def test_a_batch_size_that_forward_refuses_is_reported_with_its_line(tmp_path):
    path = write_module(tmp_path, forward="assert len(x) <= 4, f'{len(x)} images'")
    failed = {finding.description: finding.reason for finding in check_mechanism(f"{path}:Own") if finding.ok is False}
    where = line_of(path, "assert")
    assert failed["works with the batch sizes of a run"] == (
        f"a training step of 32 images raises AssertionError: 32 images ({where})"
    )


def test_an_installed_module_is_user_code(tmp_path, monkeypatch):
    (tmp_path / "site-packages" / "theirs").mkdir(parents=True)
    init, module = (tmp_path / "site-packages" / "theirs" / name for name in ("__init__.py", "attention.py"))
    init.touch()
    module.write_text(MODULE.format(init="raise OSError('no file')", forward="pass", later="pass"))
    (tmp_path / "site-packages" / "single.py").write_text("import torch\n\ntorch.nothing\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    points = [EntryPoint(name, f"{name}:Own", plugins.GROUP) for name in ("theirs.attention", "single")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    plugins.installed.cache_clear()
    try:
        for name, where in (
            ("theirs.attention", line_of(module, "raise").replace("attention", "theirs/attention")),
            ("single", "single.py:3"),
        ):
            with pytest.raises(UsageProblemError) as error:
                check_mechanism(name)
            assert f"({where})" in str(error.value)
    finally:
        plugins.installed.cache_clear()


def test_project_and_library_code_is_not_user_code(monkeypatch):
    monkeypatch.setattr(user_code, "_places", {})
    user_code.add_folder(Path(__file__).parents[3])
    for function in (check_mechanism, json.loads, pytest.raises):
        assert user_code.locate_function(function) == ""
    assert user_code.locate_function(call).startswith("tests/bench/attention/test_user_code.py:")
    assert user_code.locate(ValueError("not raised")) == ""
    example = plugins.load_user_class(f"{EXAMPLE}:Compare")
    assert user_code.locate_function(example.cls.forward) == line_of(EXAMPLE, "def forward")


def test_verdict_counts_passed_and_failed_checks():
    passed, failed, remark = Finding("a", True), Finding("b", False, "why"), Finding("c", None)
    untested = Finding("not tested: d", None, "random")
    assert describe_verdict([passed, passed, remark]) == "fit: 2 of 2 checks"
    assert describe_verdict([passed, untested, remark]) == "fit: 1 of 1 checks, 1 not tested"
    assert describe_verdict([passed, failed]) == "not fit: 1 of 2 checks failed, the others omitted: b"
    assert describe_verdict([passed, failed, failed, passed]) == "not fit: 2 of 4 checks failed: b; b"
    assert describe_verdict([passed, failed, passed], with_names=False) == "not fit: 1 of 3 checks failed"


def test_check_ends_with_the_verdict_and_debug_shows_the_traceback_of_the_child(tmp_path, rounds):
    """Each check takes a child process. With `--rounds 200`, --debug comes before the command, too."""
    path = write_module(tmp_path, forward="self.later(x)", later="raise LookupError('deep')")
    plain = call("check", f"{path}:Own", code=6)
    where = line_of(path, "LookupError")
    assert plain.stdout.splitlines()[-1].startswith("not fit: 1 of 2 checks failed")
    assert plain.stderr.count("\n") == 1
    assert plain.stdout.count(f"LookupError: deep ({where})\n") == 1
    assert plain.stderr.endswith("not fit to be benchmarked; the lines that begin with NO have the reasons\n")
    first = [["--debug", "check", f"{path}:Own"]] if rounds >= 200 else []
    for arguments in (*first, ["check", f"{path}:Own", "--json", "--debug"]):
        done = call(*arguments, code=6)
        assert f'{path}", line {where.partition(":")[2]}, in later' in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in done.stdout
    assert done.stderr.endswith(f"LookupError: deep ({where})\n")
    assert {"what", "ok", "why"} == set(json.loads(done.stdout)[-1])


def test_check_json_prints_the_verdict_on_stderr(checked_here, monkeypatch):
    monkeypatch.setattr("bench.conformance.checks.check_mechanism", lambda *_: [Finding("a", True)])
    done = call("check", "san", "--json", code=0)
    assert json.loads(done.stdout) == [{"what": "a", "ok": True, "why": ""}]
    assert done.stderr == "san: fit: 1 of 1 checks\n"
    assert call("check", "san", code=0).stdout == "ok    a\nfit: 1 of 1 checks\n"


def test_a_run_that_is_refused_shows_the_traceback_of_the_child_with_debug(mini, tmp_path):
    path = write_module(tmp_path, forward="raise LookupError('refused')")
    run = ["run", "--attn", f"{path}:Own", "--data", mini, "--runs", tmp_path / "runs", *TRAINING]
    where = line_of(path, "LookupError")
    done = call("--debug", *run, code=6)
    assert f'{path}", line {where.partition(":")[2]}, in forward' in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert f"LookupError: refused ({where})" in done.stderr.splitlines()[-1]


LATE = "if self.training and x.shape[-1] == 48 and self.calls > 3 and len(x) > 2: raise OSError('late\\nerror')"


def test_failed_run_stores_the_traceback(mini, tmp_path, checked_here):
    """The module passes the quick checks, which take few steps, and fails in the fourth step."""
    path = write_module(
        tmp_path, forward=LATE.replace("len(x) > 2", "len(x) == 50").replace("x.shape[-1] == 48 and ", "")
    )
    where = line_of(path, "late")
    run = ["run", "--attn", f"{path}:Own", "--data", mini, "--runs", tmp_path / "runs", "--questions", "one", *TRAINING]
    done = call(*run, code=6)
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith(
        f"failed: OSError: late error ({where}); see traceback.txt in the run's folder, or use --debug\n"
    )
    (folder,) = (tmp_path / "runs").glob("mini-*")
    result = json.loads((folder / records.RESULT).read_text())
    assert (result["status"], result["reason"]) == ("failed", f"OSError: late error ({where})")
    text = (folder / records.TRACEBACK).read_text()
    assert f'{path}", line {where.partition(":")[2]}, in forward' in text
    assert text.endswith("OSError: late\nerror\n")
    sweep = ["sweep", "--attn", f"{path}:Own", "--data", mini, "--runs", tmp_path / "runs", "--seeds", 1, *run[7:]]
    done = call(*sweep, "--debug", code=6)
    assert f'{path}", line {where.partition(":")[2]}, in forward' in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert f"failed: OSError: late error ({where})" in done.stderr
    path.write_text(path.read_text().replace("self.calls > 3", "False"))
    again = call(*run, code=0)
    assert not (Path(again.stdout.strip()) / records.TRACEBACK).exists()


def test_errors_after_the_test_keep_the_result(mini, tmp_path, checked_here):
    """The module raises in the timing and for the picture."""
    path = write_module(
        tmp_path,
        forward="if {'time_networks', 'save_picture'} & {frame.name for frame in traceback.extract_stack()}: 1 / 0",
    )
    path.write_text(f"import traceback\n{path.read_text()}")
    where = line_of(path, "1 / 0")
    run = ["run", "--attn", f"{path}:Own", "--data", mini, *TRAINING, "--runs", tmp_path / "runs", "--picture"]
    done = call(*run, code=0)
    error = f"ZeroDivisionError: division by zero ({where})"
    assert f"the timing failed: {error}; the test is done and its result is kept, without times; see" in done.stderr
    assert "--no-timing omits the timing\ntest accuracy " in done.stderr
    assert f"no picture: {error}\n" in done.stderr
    folder = Path(done.stdout.strip())
    assert f'{path}", line {where.partition(":")[2]}, in forward' in (folder / records.TRACEBACK).read_text()
    result = records.read_result(folder)
    assert (result["status"], {result[name] for name in COSTS}) == ("ok", {None})
    assert result["accuracy"] == records.read_answers(folder)["right"].mean()
    assert records.is_finished(folder)


def test_stored_traceback_is_deleted_when_the_run_is_started_again(mini, tmp_path, checked_here, monkeypatch):
    run = ["run", "--attn", "san", "--data", mini, "--runs", tmp_path, *TRAINING]
    with monkeypatch.context() as patch:
        patch.setattr("bench.runs.final_test.test", lambda *_: 1 / 0)
        call(*run, code=6)
    (folder,) = tmp_path.glob("mini-*")
    assert "ZeroDivisionError" in (folder / records.TRACEBACK).read_text()
    call(*run, code=0)
    assert not (folder / records.TRACEBACK).exists()
