"""The commands, through click's runner and as processes: what they print where, and how they end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import cli
import mnistref
from bench.attention import MECHANISMS
from mnistref import cli as commands
from mnistref.export import FORMATS
from mnistref.variants import VARIANTS

TOP = Path(__file__).parent.parent
TINY = ["--train", "12", "--val", "6", "--test", "6"]


def call(program, *arguments, code: int = 0):
    """Run a command in this process; its errors are one line, without a traceback."""
    result = CliRunner().invoke(program, [str(a) for a in arguments])
    assert result.exit_code == code, (result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    if code not in (0, 2) or "error:" in result.stderr:
        assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
    return result


def process(*arguments, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Run `python cli.py …` as a process of its own."""
    command = [sys.executable, str(TOP / "cli.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
    assert done.returncode == code, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize("program", ["mnistref", "bench"])
def test_help_is_light(program):
    """No heavy package is imported for --help, so that it answers at once."""
    probe = (
        "import sys, cli\n"
        f"try: cli.{program}.main(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'numba', 'h5py', 'PIL', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")


def test_every_command_explains_itself():
    for program in (cli.mnistref, cli.bench):
        assert call(program, "--version").stdout.strip().endswith(mnistref.__version__)
        for name, command in program.commands.items():
            assert command.help, name
            assert call(program, name, "--help").stdout.startswith("Usage: ")


def test_lists_follow_the_registries():
    named = json.loads(call(cli.mnistref, "list", "--json").stdout)
    assert [v["name"] for v in named] == list(VARIANTS)
    text = call(cli.mnistref, "list").stdout
    assert all(f"\n{name} " in text for name in VARIANTS)
    assert "compare with nothing published" in text
    named = json.loads(call(cli.bench, "list", "--json").stdout)
    assert [m["name"] for m in named] == list(MECHANISMS)
    assert all(m["params"] > 20_000 for m in named)
    assert [m["name"] for m in json.loads(call(cli.bench, "list", "pan*", "--json").stdout)] == ["pan", "pan-ctx"]


@pytest.fixture
def generated(root, idx_folder, photo_folder):
    arguments = ["generate", "--variant", "mbg", "--root", root / "cli", *TINY, "--digits", idx_folder]
    return [*arguments, "--backgrounds", photo_folder]


def test_generate_prints_the_folder_and_nothing_else(generated, tmp_path):
    folder = Path(call(cli.mnistref, *generated).stdout.strip())
    assert folder.is_dir()
    assert folder.parent.name == "datasets"
    dry = call(cli.mnistref, *generated, "--seed", "9", "--dry-run")
    assert not Path(dry.stdout.strip()).exists()
    assert "24 images" in dry.stderr
    assert "every byte is accounted for" in call(cli.mnistref, "verify", folder).stdout
    assert json.loads(call(cli.mnistref, "verify", folder, "--json").stdout) == {"ok": True, "faults": []}
    laws = json.loads(call(cli.mnistref, "stats", folder, "--json").stdout)["laws"]
    assert {"split", "law", "expected", "measured", "p", "holds", "shares"} == set(laws[0])
    assert {"of", "value", "expected", "measured"} == set(laws[0]["shares"][0])
    assert "mean ink of a digit" in call(cli.mnistref, "stats", folder).stdout
    sheet = tmp_path / "sheet.png"
    drawn = call(cli.mnistref, "preview", folder, "-o", sheet, "--images", 4, "--split", "val", "--boxes")
    assert drawn.stdout.strip() == str(sheet)
    assert sheet.is_file()


def test_stats_draws_on_request(mini, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "laws.png"
    plain = call(cli.mnistref, "stats", mini)
    drawn = call(cli.mnistref, "stats", mini, "--plot", path)
    assert drawn.stdout == plain.stdout  # the table, with the note
    assert str(path) in drawn.stderr
    assert path.is_file()
    assert "ends in .png" in call(cli.mnistref, "stats", mini, "--plot", tmp_path / "laws", code=2).stderr


@pytest.mark.parametrize("to", FORMATS)
def test_export_prints_the_folder_and_nothing_else(to, mini, tmp_path):
    pytest.importorskip("pyarrow")
    assert to in call(cli.mnistref, "export", "--help").stdout
    arguments = ["export", mini, "--to", to, "-o", tmp_path / "out", "--split", "val"]
    result = call(cli.mnistref, *arguments)
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert "compare with nothing published" in result.stderr
    assert (tmp_path / "out" / "README.md").is_file()
    assert "is there already" in call(cli.mnistref, *arguments, code=2).stderr
    assert "has no 'vol' split" in call(cli.mnistref, *arguments, "--split", "vol", code=2).stderr
    assert "known: " in call(cli.mnistref, *arguments, "--to", "csv", code=2).stderr


def test_export_of_a_damaged_shard_ends_with_3(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    path = folder / "val-00000-of-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    result = call(cli.mnistref, "export", folder, "--to", "png", "-o", tmp_path / "out", code=3)
    assert path.name in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_verify_names_the_bad_file_and_ends_with_3(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    path = folder / "val-00000-of-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    result = call(cli.mnistref, "verify", folder, code=3)
    assert path.name in result.stdout
    assert path.name in result.stderr
    faults = json.loads(call(cli.mnistref, "verify", folder, "--json", code=3).stdout)["faults"]
    assert [fault["file"] for fault in faults] == [path.name]


def test_what_is_not_part_of_a_set_is_to_be_moved_and_not_to_be_made(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    (folder / "notes.txt").write_text("mine")
    stray = call(cli.mnistref, "verify", folder, code=3).stderr
    assert "1 bad file: notes.txt; remove what is not part of it, or move it away\n" in stray
    (folder / "README.md").unlink()
    both = call(cli.mnistref, "verify", folder, code=3).stderr
    assert both.endswith("or move it away; run generate again\n")
    (folder / "notes.txt").unlink()
    assert call(cli.mnistref, "verify", folder, code=3).stderr.endswith("1 bad file: README.md; run generate again\n")


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["--variant", "nosuch"], 2, "unknown variant 'nosuch'"),
        (["--variant", "mbgg"], 2, "did you mean 'mbg'"),
        (["--train", "0"], 2, "0 train images: give 1 or more"),
        (["--test", "-1"], 2, "-1 test images: give 1 or more"),
        (["--train", "99999999999"], 2, "99999999999 train images: give 2,147,483,647 or fewer"),
        (["--train", "many"], 2, "not a valid integer"),
        (["--digits", "nosuch"], 2, "no digit source 'nosuch'"),
        (["--backgrounds", "nosuch"], 2, "no photo source 'nosuch'"),
        (["--pool", "some"], 2, "give one of disjoint, pooled"),
        (["--workers", "0"], 2, "workers"),
        (["--nosuch"], 2, "nosuch"),
        (["--root", "/dev/null/root"], 5, "/dev/null/root"),
    ],
)
def test_bad_arguments_end_in_one_line_and_make_no_file(changes, code, message, generated, tmp_path):
    result = call(cli.mnistref, *generated, "--root", tmp_path / "root", *changes, code=code)
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "root").exists()


def empty_folder(folder: Path, photos: Path) -> str:
    folder.mkdir()
    return "no images here"


def truncated_jpeg(folder: Path, photos: Path) -> str:
    shutil.copytree(photos, folder)
    path = next(folder.rglob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-200])
    return path.name


@pytest.mark.parametrize("harm", [empty_folder, truncated_jpeg])
def test_bad_photos_end_with_3(harm, generated, photo_folder, tmp_path):
    message = harm(tmp_path / "photos", photo_folder)
    arguments = [*generated, "--root", tmp_path / "root", "--backgrounds", tmp_path / "photos"]
    assert message in call(cli.mnistref, *arguments, code=3).stderr
    files = {p.name for p in (tmp_path / "root").rglob("*") if p.is_file() and not p.name.endswith(".lock")}
    assert files <= {"looks.npz"}  # what is known of the files that can be decoded


def test_a_wrong_mnist_file_ends_with_3(generated, idx_folder, tmp_path):
    shutil.copytree(idx_folder, tmp_path / "raw" / "MNIST" / "raw")
    result = call(cli.mnistref, *generated, "--root", tmp_path, "--digits", "mnist", code=3)
    assert "not the original" in result.stderr
    assert not (tmp_path / "datasets").exists()


def test_another_set_under_the_name_ends_with_4(generated, tmp_path):
    one, two = (Path(call(cli.mnistref, *generated, "--root", tmp_path, "--seed", s).stdout.strip()) for s in (1, 2))
    shutil.rmtree(one)
    two.rename(one)
    assert "another data set" in call(cli.mnistref, *generated, "--root", tmp_path, "--seed", 1, code=4).stderr


@pytest.mark.parametrize("command", ["verify", "stats", "preview", "export"])
def test_a_folder_that_is_no_set_ends_with_2(command, tmp_path):
    more = {"preview": ["-o", tmp_path / "x.png"], "export": ["--to", "png", "-o", tmp_path / "x"]}.get(command, [])
    assert "no data set here" in call(cli.mnistref, command, tmp_path, *more, code=2).stderr
    assert "does not exist" in call(cli.mnistref, command, tmp_path / "none", *more, code=2).stderr


def run_arguments(mini, runs, attn="pan", *more) -> list:
    return ["run", "--attn", attn, "--data", mini, "--epochs", 1, "--device", "cpu", "--runs", runs, *more]


def test_run_and_leaderboard(mini, tmp_path):
    runs = tmp_path / "runs"
    for attn in ("san", "pan"):
        result = call(cli.bench, *run_arguments(mini, runs, attn))
        folder = Path(result.stdout.strip())
        assert (folder / "result.json").is_file()
        assert "device: cpu" in result.stderr
        assert "compare with nothing published" in result.stderr
    again = call(cli.bench, *run_arguments(mini, runs, "pan"))
    assert "already finished" in again.stderr
    assert Path(again.stdout.strip()) == folder
    board = tmp_path / "board.csv"
    assert call(cli.bench, "leaderboard", "--runs", runs, "-o", board).stdout.strip() == str(board)
    table = pd.read_csv(board)
    assert sorted(table["attn"]) == ["pan", "san"]
    assert 1 in set(table["rank"]) <= {1, 2}
    assert table["relative_runtime"].notna().all()
    shown = call(cli.bench, "leaderboard", "--runs", runs).stdout
    assert "compare with nothing published" in shown
    markdown = call(cli.bench, "leaderboard", "--runs", runs, "--markdown").stdout
    assert markdown.startswith("### mini-")
    assert "\n| # | attn | seeds |" in markdown
    assert "no runs here" in call(cli.bench, "leaderboard", "--runs", tmp_path / "none", code=2).stderr
    assert "unknown variant" in call(cli.bench, "leaderboard", "--runs", runs, "--variant", "x", code=2).stderr


def test_show_draws_a_run(mini, root, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    folder = Path(call(cli.bench, *run_arguments(mini, root / "runs", "san")).stdout.strip())
    monkeypatch.chdir(tmp_path)
    shown = call(cli.bench, "show", folder, "--images", 1)  # its data are found beside it, the name is the run's
    assert shown.stdout == f"{folder.name}.png\n"
    assert "of 1 answers right" in shown.stderr
    assert (tmp_path / shown.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    far = shutil.copytree(folder, tmp_path / "elsewhere" / "run")
    assert "give its place with --data or --root" in call(cli.bench, "show", far, code=2).stderr
    for more in (["--data", mini], ["--root", root]):
        drawn = call(cli.bench, "show", far, "-o", "new/a.svg", "--image", 3, "--image", 1, *more)
        assert drawn.stdout == "new/a.svg\n"
        assert "of 2 answers right" in drawn.stderr
        assert drawn.stderr.count("\n") == 1
    (far / "weights.safetensors").write_bytes(b"damaged")
    for more, code, message in (
        (["--data", mini], 3, "weights.safetensors: "),
        (["--images", 1, "--image", 1], 2, "not both"),
        (["-o", "a.gif"], 2, "ends in .png"),
        (["-o", "/dev/null/a.png"], 5, "/dev/null"),
        (["--samples", 2], 2, "draws no samples"),
        (["--image", 120], 2, "no test image 120"),
        (["--data", tmp_path], 2, "no data set here"),
    ):
        run = far if code == 3 else folder
        result = call(cli.bench, "show", run, *more, code=code)
        assert message in result.stderr
        assert result.stdout == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", f"{folder.name}.png", "new"]
    (far / "result.json").unlink()
    assert "not finished" in call(cli.bench, "show", far, code=3).stderr
    assert "no run here" in call(cli.bench, "show", tmp_path, code=2).stderr
    assert "no run here" in call(cli.bench, "show", tmp_path / "none", code=2).stderr


def test_run_generates_what_is_missing(root, tmp_path, monkeypatch):
    from bench import config

    small = config.Preset(
        "mini", {"train": 60, "val": 20, "test": 20}, "mnist5k", config.Recipe("fast", "adam", 0.003, 50, 1, "onecycle")
    )
    monkeypatch.setitem(config.PRESETS, "quick", small)
    arguments = ["run", "--attn", "none", "--preset", "quick", "--root", root, "--runs", tmp_path, "--device", "cpu"]
    result = json.loads((Path(call(cli.bench, *arguments).stdout.strip()) / "result.json").read_text())
    assert (result["variant"], result["n_test"], result["dataset"]["digits"]) == ("mini", 20, "mnist5k")


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--attn", "nosuch"], 2, "unknown mechanism 'nosuch'"),
        (["--attn", "arn"], 2, "did you mean 'arnn'"),
        (["--attn", "pan,pan-ctx,pan,pan-ctx,pan"], 2, "5 slots"),
        (["--variant", "mini"], 2, "not both"),
        (["--recipe", "slow"], 2, "unknown recipe 'slow'"),
        (["--epochs", "0"], 2, "epochs"),
        (["--batch", "0"], 2, "batch"),
        (["--lr", "0"], 2, "lr"),
        (["--queries", "none"], 2, "queries"),
        (["--runs", "/dev/null/runs"], 5, "/dev/null/runs"),
    ],
)
def test_bad_run_arguments_end_in_one_line(more, code, message, mini, tmp_path):
    result = call(cli.bench, *run_arguments(mini, tmp_path), *more, code=code)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_run_that_diverges_ends_with_6(mini, tmp_path, monkeypatch):
    from dataclasses import replace

    from bench import config

    hot = replace(config.RECIPES["fast"], lr=1e30, optimizer="rmsprop")
    monkeypatch.setitem(config.PRESETS, "paper", replace(config.PRESETS["paper"], recipe=hot))
    assert "diverged" in call(cli.bench, *run_arguments(mini, tmp_path), code=6).stderr
    assert "1 diverged" in call(cli.bench, "leaderboard", "--runs", tmp_path).stdout


def test_a_bug_is_one_line_and_a_traceback_with_debug(monkeypatch):
    monkeypatch.setattr("mnistref.common.text_table.table", None)
    monkeypatch.setattr(commands, "table", None)
    assert "a bug: TypeError" in call(cli.mnistref, "list", code=1).stderr
    result = CliRunner().invoke(cli.mnistref, ["--debug", "list"])
    assert isinstance(result.exception, TypeError)


def test_without_arguments_the_help_is_shown_and_the_code_is_2():
    result = call(cli.mnistref, code=2)
    assert "Commands:" in result.stderr
    assert result.stdout == ""


def test_as_processes_from_a_checkout(idx_folder, tmp_path):
    done = process("mnistref", "generate", "--variant", "mini", "--root", tmp_path, *TINY, "--digits", idx_folder)
    folder = Path(done.stdout.strip())
    assert len(done.stdout.splitlines()) == 1
    done = process(*["bench", *map(str, run_arguments(folder, tmp_path / "runs"))])
    assert Path(done.stdout.strip()).is_dir()
    done = process("bench", "run", "--attn", "nosuch", "--data", folder, code=2)
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        return None if name.split(".")[0] in {missing!r} else self.finder.find_spec(name, *more)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""
MISSING = ["numba", "safetensors", "scipy", "mlxtend", "skimage", "sklearn", "matplotlib", "hypothesis", "torchmetrics"]
MISSING += ["datasets", "mlcroissant", "pyarrow", "webdataset"]


def test_with_only_the_core_packages(idx_folder, tmp_path):
    """numpy, pillow, torch, torchvision, click, h5py, tqdm and pandas (and what torch brings) are enough."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(missing=MISSING))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = ["mnistref", "generate", "--variant", "mini", "--root", tmp_path, *TINY, "--digits", idx_folder]
    done = process(*arguments, env=environment)
    assert "numba is not installed" in done.stderr
    folder = Path(done.stdout.strip())
    with_numba = call(cli.mnistref, *[a if a != tmp_path else tmp_path / "compiled" for a in arguments[1:]])
    for name in ("SHA256SUMS", "train-00000-of-00001.h5"):
        assert (Path(with_numba.stdout.strip()) / name).read_bytes() == (folder / name).read_bytes()
    stats, export = ["mnistref", "stats", folder], ["mnistref", "export", folder, "-o", tmp_path / "out", "--to"]
    train = ["bench", *run_arguments(folder, tmp_path / "runs")]
    plot, _, parquet, trained = one_after_the_other(
        [
            ([*stats, "--plot", tmp_path / "laws.png"], 2),
            ([*export, "webdataset"], 0),
            ([*export, "parquet"], 2),
            (train, 0),
        ],
        environment,
    )
    assert "pip install 'mnistref[report]'" in plot[1]
    assert "pip install 'mnistref[export]'" in parquet[1]
    show = ["bench", "show", trained[0].strip(), "-o", tmp_path / "a.png"]
    board = ["bench", "leaderboard", "--runs", tmp_path / "runs", "-o", tmp_path / "board.csv"]
    photos = ["mnistref", "generate", "--variant", "mbg", "--digits", idx_folder, *TINY, "--root", tmp_path]
    picture, _, default = one_after_the_other([(show, 2), (board, 0), (photos, 3)], environment)
    assert picture[1] == "error: a picture needs matplotlib: pip install 'mnistref[report]'\n"
    assert pd.read_csv(tmp_path / "board.csv")["accuracy"].notna().all()
    assert "pip install scikit-image" in default[1]


SEVERAL = """
import json, sys
from click.testing import CliRunner
import cli
import mnistref
for program, *arguments in json.loads(sys.argv[1]):
    done = CliRunner().invoke(getattr(cli, program), arguments)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""


def one_after_the_other(commands: list[tuple[list, int]], environment: dict[str, str]) -> list[tuple[str, str]]:
    """Commands, each with the exit code it is to have, in one process → what each printed on stdout and stderr."""
    given = json.dumps([[str(a) for a in command] for command, _ in commands])
    command = [sys.executable, "-c", SEVERAL, given]
    environment = environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{TOP}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [code for code, _, _ in found] == [code for _, code in commands], found
    return [(out, errors) for _, out, errors in found]


def test_an_interrupt_ends_with_130(tmp_path):
    import signal
    import time

    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "generate", "--variant", "mref", "--digits", "mnist5k"]
    running = subprocess.Popen([*command, "--root", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("datasets/*/*.h5")):
        time.sleep(0.05)
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.splitlines()[-1].startswith("error: interrupted")
    assert not list(tmp_path.glob("datasets/*/SHA256SUMS"))


def test_output_that_nobody_reads_is_no_error(mini):
    pipe = f"{sys.executable} {TOP / 'cli.py'} mnistref stats {mini} --json | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_a_file_that_ends_too_early_is_no_interrupt(monkeypatch):
    def ends(*_):
        raise EOFError("no more bytes")

    monkeypatch.setattr(commands, "table", ends)
    assert "a bug: RuntimeError: EOFError: no more bytes" in call(cli.mnistref, "list", code=1).stderr
