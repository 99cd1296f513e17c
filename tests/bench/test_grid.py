"""The papers' grid in slices: what it names exists, and it comes to its end however often its time is over."""

import os
import re
import subprocess
import sys

import pytest

from bench.attention import networks_of
from bench.model import create_model
from mnistref.variants import VARIANTS
from tests.helpers import TOP

SCRIPT = TOP / "bench" / "grid.sh"
TINY = {
    "GRID_SIZES": "--train 60 --val 20 --test 20 --digits mnist5k",
    "GRID_TRAINING": "--device cpu --epochs 1 --threads 1",
    "GRID_SEEDS": "1",
    "GRID_MAIN": "san",
    "GRID_REST": "none",
    "GRID_INVERSE": "none",
    "GRID_BLOCKS": "none",
}
STAGES = {"mref": {"san", "none"}, "mbg": {"san", "none"}, "mdist": {"san"}, "mbginv": {"none"}, "mbgb": {"none"}}


def grid(folder, photos, seconds: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **TINY, "PYTHON": sys.executable}
    command = ["bash", str(SCRIPT), str(folder), str(photos), str(seconds)]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)


def test_what_it_names_exists():
    text = SCRIPT.read_text()
    lists = re.findall(r"GRID_(?:MAIN|REST|BLOCKS|INVERSE):-([\w,+-]+)\}", text)
    assert len(lists) == 4
    stages = re.findall(r"^trained (\w+)", text, re.MULTILINE)
    assert set(stages) == VARIANTS.keys() - {"mini", "mbgmulti"}
    for networks in lists:
        for attn in networks_of(networks):
            create_model(attn, "mbgb" if "+" in networks else "mbg")


def test_without_time_it_says_that_something_is_left(photo_folder, tmp_path):
    done = grid(tmp_path / "grid", photo_folder, 0)
    assert done.returncode == 3
    assert not (tmp_path / "grid").exists()
    usage = subprocess.run(["bash", str(SCRIPT)], cwd=TOP, capture_output=True, text=True, check=False)
    assert usage.returncode == 1
    assert "usage: bash bench/grid.sh FOLDER PHOTOS" in usage.stderr


def test_in_slices_it_comes_to_its_end(photo_folder, tmp_path, rounds):
    if rounds < 200:
        pytest.skip("two minutes: for the long form, --rounds 200")
    codes = [3]
    while codes[-1] == 3:
        assert len(codes) < 12, "it does not come further"
        codes.append(grid(tmp_path, photo_folder, 40).returncode)
    assert codes[-1] == 0
    assert len(codes) > 2
    for variant, networks in STAGES.items():
        assert {run.name.split("-")[1] for run in (tmp_path / "runs" / variant).glob("*-s0-*")} == networks
