"""The grid of the papers' tables on natural images: its plan, and slices that resume."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.attention import canonical_names
from bench.networks import NETWORKS
from bench.recipes import RECIPES
from tests.helpers import TOP
from tests.perf import task_grid
from tests.perf.task_grid_plan import TABLES, steps

SMALL = ("--device", "cpu", "--width", "4", "--canvas", "16", "--epochs", "1", "--seeds", "1", "--workers", "1")


def test_the_grid_contains_every_published_error_of_its_networks():
    groups = [group for table in TABLES.values() for group in table]
    trained = {(group.network, *canonical_names(attn)) for group in groups for attn in group.attns}
    with open(TOP / "bench" / "leaderboard" / "published.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in ("ARNN T4", "LTPA T1")]
    published = {(row["network"], row["attn"]) for row in rows if row["network"] in NETWORKS}
    assert published <= trained
    assert ("vgg-late", "none") in trained


def test_seeds_come_in_order_and_recipes_exist():
    for fast in (False, True):
        order = list(steps(2, tuple(TABLES), fast))
        assert [seed for seed, _ in order] == sorted(seed for seed, _ in order)
        assert {group.recipe for _, group in order} <= RECIPES.keys()


@pytest.fixture
def photos(tmp_path) -> Path:
    """Return a folder of two classes of plain images."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for each in range(16):
            pixels = np.full((16, 16, 3), 40 + 120 * number + each, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{each}.png")
    return folder


def program_that_records(tmp_path) -> str:
    """Return the command of a program that appends its arguments to `told`, and exits with the code in `code`."""
    text = f"""
import sys
open({str(tmp_path / "told")!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(int(open({str(tmp_path / "code")!r}).read()))
"""
    (tmp_path / "program.py").write_text(text)
    return f"{sys.executable} -S {tmp_path / 'program.py'}"


def grid(*arguments, python: str = sys.executable, script: str = "task_grid.sh") -> subprocess.CompletedProcess[str]:
    command = ["bash", str(TOP / "bench" / "scripts" / script), *map(str, arguments)]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin", "PYTHON": python}, capture_output=True, text=True)


@pytest.mark.parametrize("script", ["task_grid.sh", "grid.sh"])
def test_a_python_without_the_packages_is_named_in_one_line(script, tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    done = grid(tmp_path, "builtin", python=str(bare), script=script)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {bare} does not have the packages of this project; activate")
    assert done.stderr.count("\n") == 1


def test_a_finished_sweep_is_not_repeated_and_a_failed_one_ends_the_grid(tmp_path, photos):
    program = program_that_records(tmp_path)
    arguments = tmp_path / "grid", f"folder:{photos}", 60, *SMALL, "--program", program
    (tmp_path / "code").write_text("3")
    assert grid(*arguments).returncode == 3
    (tmp_path / "code").write_text("0")
    assert grid(*arguments).returncode == 0
    told = (tmp_path / "told").read_text().splitlines()
    assert len(told) == 1 + len([*steps(1, tuple(TABLES), False)])
    assert told[0] == told[1]
    assert "--network resnet18" in told[0]
    assert grid(*arguments).returncode == 0
    assert (tmp_path / "told").read_text().splitlines() == told


@pytest.mark.long_form
@pytest.mark.parametrize(
    ("table", "finished", "first"),
    [("arnn-t4", 5, "folder-photos-resnet18-cbam"), ("ltpa-t1", 13, "folder-photos-resnet164-ltpa-pc-levels=2")],
)
def test_every_run_of_a_table_is_trained_and_packed(table, finished, first, tmp_path, photos):
    arguments = tmp_path / "grid", f"folder:{photos}", 500, *SMALL, "--tables", table, "--out", tmp_path / "out"
    done = grid(*arguments, "--training", "--batch 8 --no-timing")
    assert done.returncode == 0, done.stderr
    runs = sorted(path.name for path in (tmp_path / "grid" / "all").iterdir())
    assert len(runs) == finished == sum(len(group.attns) for group in TABLES[table])
    assert runs[0].startswith(first)
    assert json.loads((tmp_path / "out" / "grid.json").read_text())["finished"] == finished
    assert (tmp_path / "out" / "records-1.tar.xz").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "cifar1000"], "unknown task 'cifar1000'"),
        (["x", "folder:nothing"], "nothing"),
        (["x", "cifar10", "--tables", "t5"], "--tables t5: give arnn-t4 or ltpa-t1"),
    ],
)
def test_wrong_options_are_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        task_grid.parsed(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert message in error
    assert len(error.splitlines()) == 1
