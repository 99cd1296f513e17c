"""The architecture: imports, pure modules, unsafe functions, lengths of files, and a file of tests for each module."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("mnistref", "bench")
    for path in sorted((TOP / package).rglob("*.py"))
} | {"cli": TOP / "cli.py"}
LONGEST = 325
"""Maximum number of lines of a module."""
LONGEST_TEST = 400
"""Maximum number of lines of a test file."""

IMPURE_MODULES = {"datetime", "io", "os", "pathlib", "random", "requests", "shutil", "socket", "subprocess"}
IMPURE_MODULES |= {"time", "urllib"}
IMPURE_CALLS = {"open", "print", "input"}
FILE_METHOD = re.compile(r"\.(open|(read|write)_(text|bytes|csv|parquet)|to_csv|mkdir|unlink)$")
SAMPLING = {"torch.rand", "torch.randn", "torch.randint", "torch.randperm", "torch.multinomial", "torch.bernoulli"}

TRITON = {
    f"bench.kernels.diagonal_lstm.{name}" for name in ("triton_dot", "triton_kernels", "triton_op", "triton_weights")
}
FILELESS = (
    *("bench.training.trainer", "bench.training.step", "bench.data.split", "bench.data.streaming"),
    *("bench.profiling.timing", "bench.evaluation.evaluate", "bench.model"),
)
UNTESTED = {
    "bench.__main__": "starts the command line; tests/faults/test_interrupts.py runs it",
    "mnistref.__main__": "starts the command line; tests/faults/test_interrupts.py runs it",
    "bench.kernels.diagonal_lstm.triton_dot": "runs in Triton's interpreter, see triton_interpreter_cases.py",
    "bench.kernels.diagonal_lstm.triton_weights": "runs in Triton's interpreter, as triton_dot",
}
"""Modules without a file of tests of their path, and the reason."""


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def imports_of(name: str, everywhere: bool = True) -> set[str]:
    """Return the full names of the modules that a module imports, anywhere or only at its top level."""
    tree = tree_of(name)
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module for module in below if module in MODULES} or {node.module}
    return found


def pure_modules() -> list[str]:
    """Return the modules whose docstring says "Pure.".

    They only compute: no files, network, clock, printing or shared random generator.
    """
    return [name for name in MODULES if re.search(r"\bPure\.", ast.get_docstring(tree_of(name)) or "")]


def test_pure_modules_are_found_by_their_docstrings():
    assert len(pure_modules()) > 40
    for name in MODULES:
        found = re.findall(r"\bpure\b.?", ast.get_docstring(tree_of(name)) or "", re.IGNORECASE)
        assert set(found) <= {"Pure."}, f'{name}: write "Pure.", so that the tests find the module'


def test_import_contracts_are_kept(tmp_path):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_entry_points_import_the_command_line():
    entries = {"cli", "mnistref.__main__", "bench.__main__"}
    for name in MODULES.keys() - entries:
        seen = {module for module in imports_of(name) if module in ("cli", "mnistref.cli")}
        seen |= {m for m in imports_of(name) if m.startswith("bench.cli") and not name.startswith("bench.cli")}
        assert not seen, name
    for name in entries - {"cli"}:
        assert not any("cli" in module for module in imports_of(name, everywhere=False)), name


@pytest.mark.parametrize("name", pure_modules())
def test_pure_module_uses_no_files_clock_or_global_generator(name):
    roots = {module.split(".")[0] for module in imports_of(name)}
    assert not roots & IMPURE_MODULES
    assert not {"importlib.resources", "torch.random"} & imports_of(name)
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in IMPURE_CALLS, ast.unparse(node)
            assert not FILE_METHOD.search(called), ast.unparse(node)
            if called in SAMPLING:
                assert any(keyword.arg == "generator" for keyword in node.keywords), ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random."):
            assert node.attr == "Philox", ast.unparse(node)  # a keyed stream, no shared state


def test_triton_is_imported_only_when_it_is_used():
    for name in MODULES:
        if name.startswith("bench.kernels"):
            early = imports_of(name, everywhere=False)
            assert name in TRITON or not early & {"triton", "triton.language", *TRITON}, name
            assert "nn.Module" not in MODULES[name].read_text(encoding="utf-8"), name
        elif name.startswith("bench.attention"):
            assert not imports_of(name) & {"triton", "triton.language"}, name


def test_shards_module_imports_no_torch():
    assert not {m.split(".")[0] for m in imports_of("mnistref.storage.shards")} & {"torch", "random"}


@pytest.mark.parametrize("name", FILELESS)
def test_training_and_evaluation_modules_access_no_files(name):
    assert not imports_of(name) & {"pathlib", "os", "json", "click"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_pickled_or_evaluated(name):
    """Weights and records are safetensors and JSON: no shipped code executes the content of a file."""
    assert not {m.split(".")[0] for m in imports_of(name)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "marshal",
        "shelve",
    }
    tree = tree_of(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("torch", "torch.serialization"):
            assert not {alias.name for alias in node.names} & {"load", "save"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "torch.save"), called
            assert not called.endswith(("read_pickle", "to_pickle")), called
            if called in ("np.load", "numpy.load"):
                assert any(k.arg == "allow_pickle" and not k.value.value for k in node.keywords), "np.load may unpickle"


def test_functions_named_require_return_nothing_and_those_named_check_return_findings():
    functions = [
        (f"{name}.{node.name}", node.name.lstrip("_").partition("_"), ast.unparse(node.returns) if node.returns else "")
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    required = [(name, returned) for name, (verb, _, rest), returned in functions if verb == "require" and rest]
    checked = [(name, returned) for name, (verb, _, rest), returned in functions if verb == "check" and rest]
    assert len(required) > 20
    assert [name for name, returned in required if returned != "None"] == []
    assert [name for name, returned in checked if returned in ("None", "")] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring_and_is_short(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text
    assert len(text.splitlines()) <= LONGEST, "split it"


@pytest.mark.parametrize("package", ["mnistref", "bench"])
def test_contributing_describes_every_module_and_package(package):
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split(f"### {package}: ")[1].split("\n#")[0]
    described = set()
    for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        described |= set(re.findall(r"`(\w+)`", row))
    parts = {name.split(".")[1] for name in MODULES if name.startswith(f"{package}.")} - {"__main__"}
    assert described == parts


def test_files_that_contributing_names_exist():
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:bench|mnistref|tests)/[\w./]+)`", text))
    assert len(paths) > 15
    assert not [path for path in paths if not (TOP / path).exists()]


def test_contributing_describes_every_shell_script():
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("### Scripts and benchmarks")[1].split("\n#")[0]
    described = set(re.findall(r"^\| `(\S+\.sh)` \|", section, re.MULTILINE))
    scripts = [path for folder in ("bench", "mnistref", "tests") for path in (TOP / folder).rglob("*.sh")]
    assert described == {path.relative_to(TOP).as_posix() for path in scripts}


def test_test_files_are_short():
    lines = {
        path.relative_to(TOP).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (TOP / "tests").rglob("*.py")
    }
    assert not {name: count for name, count in lines.items() if count > LONGEST_TEST}, "split them"


def path_of_tests(name: str) -> Path:
    """Return the path of the tests of a module, and of those of a package, which are in its folder."""
    parts = name.split(".")
    inside = parts if MODULES[name].name == "__init__.py" else parts[:-1]
    return TOP.joinpath("tests", *inside, f"test_{parts[-1]}.py")


def defines_functions(name: str) -> bool:
    """Return whether a module defines a function or a method; others hold constants, types and imports."""
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree_of(name)))


def test_every_module_with_functions_has_a_file_of_tests_of_its_path():
    missing = {name for name in MODULES if defines_functions(name) and not path_of_tests(name).exists()}
    assert missing == UNTESTED.keys()


@pytest.mark.parametrize("package", ["bench", "mnistref"])
def test_every_file_of_tests_of_a_package_names_a_module(package):
    """Tests of several modules are in tests/integration."""
    expected = {path_of_tests(name) for name in MODULES}
    assert not [path for path in sorted((TOP / "tests" / package).rglob("test_*.py")) if path not in expected]
