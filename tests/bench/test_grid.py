"""The papers' grid in slices: it is whole, and comes to its end however often its time is over."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.attention import networks_of
from bench.model import create_model
from mnistref.variants import VARIANTS
from tests.helpers import TOP

SCRIPT = TOP / "bench" / "grid.sh"
TEXT = SCRIPT.read_text(encoding="utf-8")
LISTS = dict(re.findall(r"^(\w+)=\$\{GRID_\w+:-([\w,+-]+)\}", TEXT, re.MULTILINE))
LEFT = 75
TINY = {
    "GRID_SIZES": "--train 60 --val 20 --test 20 --digits mnist5k",
    "GRID_TRAINING": "--device cpu --epochs 1 --threads 1",
    "GRID_SEEDS": "1",
    "GRID_REST": "none",
    "GRID_INVERSE": "none",
    "GRID_BLOCKS": "none+pan",
    "GRID_MAIN": "san",
    "GRID_PAN": "han",
    "GRID_ARNN": "pan",
}
STAGES = 15

PRETENDED = """#!{python}
import os, sys, time
arguments = sys.argv[2:]
with open(os.environ["TOLD"], "a") as file:
    file.write(" ".join(arguments) + "\\n")
if arguments[1] == "sweep":
    codes = os.environ.get("CODES", "").split()
    of = arguments[arguments.index("--attn") + 1]
    time.sleep(float(os.environ.get("TAKES", 0)))
    sys.exit(next((int(code) for name, code in (pair.split("=") for pair in codes) if name == of), 0))
print("set-of-" + arguments[arguments.index("--variant") + 1])
"""


def grid(folder, photos, *more, python=sys.executable, **environment) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), str(folder), str(photos), *map(str, more)]
    known = {**os.environ, **TINY, "PYTHON": str(python), **environment}
    return subprocess.run(command, cwd=TOP, env=known, capture_output=True, text=True, check=False)


@pytest.fixture
def pretended(tmp_path):
    """pretended(seconds, …) → exit code and the sweeps that were asked for, with programs that only note them."""
    python, told = tmp_path / "python", tmp_path / "told"
    python.write_text(PRETENDED.format(python=sys.executable))
    python.chmod(0o755)

    def pretended(*seconds, photos="photos", **environment) -> tuple[int, list[str]]:
        told.write_text("")
        (tmp_path / photos).mkdir(exist_ok=True)
        code = grid(
            tmp_path / "grid", tmp_path / photos, *seconds, python=python, TOLD=str(told), **environment
        ).returncode
        return code, [line for line in told.read_text().splitlines() if line.startswith("bench sweep")]

    return pretended


def test_it_holds_every_accuracy_that_is_published():
    stages = re.findall(r"^trained (\w+)(?:/\w+)? \"([^\"]+)\"", TEXT, re.MULTILINE)
    trained = set()
    for variant, networks in stages:
        names = ",".join(LISTS[part.removeprefix("$")] for part in networks.split(","))
        trained |= {(variant, attn) for attn in networks_of(names)}
    assert len(stages) == STAGES
    for variant, attn in trained:
        create_model(attn, variant)
    with open(TOP / "bench" / "leaderboard" / "published.csv", encoding="utf-8") as file:
        published = {(row["variant"], row["attn"]) for row in csv.DictReader(file) if row["measure"] == "accuracy"}
    assert published <= trained
    assert {variant for variant, _ in trained} == VARIANTS.keys() - {"mini", "mbgmulti"}


def test_it_goes_on_where_its_time_was_over(pretended, tmp_path):
    runs = [tmp_path / "grid" / "runs" / name for name in ("mref/one", "mref/more/two", "mbg/three", "mbg/none")]
    for run in runs:
        run.mkdir(parents=True)
    for run in runs[:3]:
        (run / "config.json").write_text("{}")
    code, first = pretended(2, TAKES="0.7")
    assert (code, 0 < len(first) < STAGES) == (LEFT, True)
    code, rest = pretended(60)
    assert code == 0
    assert len(first) + len(rest) in (STAGES, STAGES + 1)  # one may have been under way
    gathered = {link.name: link.resolve() for link in (tmp_path / "grid" / "all").iterdir()}
    assert gathered == {run.name: run for run in runs[:3]}
    assert pretended(60) == (0, [])
    assert len(pretended(60, photos="others")[1]) == STAGES


def test_runs_that_fail_do_not_stop_it_and_a_command_that_fails_does(pretended):
    code, asked = pretended(60, CODES="san=6")
    assert (code, len(asked)) == (0, STAGES)
    code, asked = pretended(60, photos="others", CODES="han,pan=3")
    assert (code, len(asked)) == (3, 5)


def test_wrong_use(pretended, tmp_path):
    assert pretended(0) == (LEFT, [])
    assert pretended("9m") == (2, [])
    assert pretended("08")[0] == 0  # eight seconds, which is enough here
    nowhere = grid(tmp_path / "grid", tmp_path / "nowhere")
    assert (nowhere.returncode, nowhere.stderr) == (2, f"{tmp_path / 'nowhere'}: no folder of photographs here\n")
    alone = subprocess.run(["bash", str(SCRIPT), "x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert alone.returncode == 2
    assert alone.stderr == "usage: bash bench/grid.sh FOLDER PHOTOS [SECONDS]\n"


def test_it_runs_from_anywhere(tmp_path):
    told, python = tmp_path / "told", tmp_path / "python"
    python.write_text(f'#!/bin/sh\npwd >> {told}; echo "$@" >> {told}; exit 5\n')
    python.chmod(0o755)
    (tmp_path / "photos").mkdir()
    command = ["bash", os.path.relpath(SCRIPT, tmp_path), "grid", "photos"]
    known = {**os.environ, **TINY, "PYTHON": str(python)}
    assert subprocess.run(command, cwd=tmp_path, env=known, check=False, capture_output=True).returncode == 5
    where, asked = told.read_text().splitlines()
    assert where == str(TOP)
    assert f"--root {tmp_path / 'grid'} " in asked


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_without_a_gpu_nothing_is_made(tmp_path):
    done = grid(tmp_path / "grid", tmp_path, GRID_TRAINING="--device cuda")
    assert done.returncode == 2
    assert done.stderr.startswith("no CUDA device here")
    assert not (tmp_path / "grid").exists()
    (tmp_path / "grid").mkdir()
    assert grid(tmp_path / "grid", "builtin", GRID_TRAINING="--device cuda").returncode == 2
    assert not any((tmp_path / "grid").iterdir())


def test_small_networks_in_slices(photo_folder, tmp_path, rounds):
    if rounds < 200:
        pytest.skip("ten minutes: for the long form, --rounds 200")
    seconds, codes = 20, [LEFT]
    while codes[-1] == LEFT:
        codes.append(grid(tmp_path, photo_folder, seconds).returncode)
        seconds += 5
    assert codes[-1] == 0
    wanted = {"mref": {"san", "han", "pan", "none", "none+pan"}, "mbginv": {"none"}, "mbgb": {"none+pan"}}
    for variant, networks in (wanted | {"mbg": wanted["mref"], "mdist": wanted["mref"] - {"none"}}).items():
        assert {run.name.split("-")[1] for run in Path(tmp_path, "runs", variant).glob("*-s0-*")} == networks
