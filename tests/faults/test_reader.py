"""Thousands of damaged shards: every reader raises the same class of error, and none crashes or hangs."""

import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from cli import mnistref
from mnistref.inspection.verify import verify
from mnistref.storage import shards
from tests.faults.helpers import FEW, HANG_SECONDS, TOP, content, is_one_line

READER = """
import sys
import mnistref.storage.manifest
mnistref.storage.manifest.SHARD_IMAGES = 8
from pathlib import Path
from mnistref.inspection.statistics import statistics
from mnistref.inspection.verify import verify
from mnistref.dataset import MnistRef, read_split
from mnistref.common.errors import DataProblemError

folder, shard = Path(sys.argv[1]), sys.argv[2]
ways = [
    lambda: read_split(folder, "train", "image", "label"),
    lambda: MnistRef(folder, "train")[0],
    lambda: statistics(folder),
]
for mutant in sys.stdin:
    (folder / shard).write_bytes(Path(mutant.strip()).read_bytes())
    assert [fault.file for fault in verify(folder)] == [shard]
    for way in ways:
        try:
            way()
        except DataProblemError as error:
            assert shard in str(error)
        else:
            raise AssertionError("a damaged shard was read")
    print(mutant.strip(), flush=True)
"""
"""Program that reads the data set with each shard named on stdin, with every reader."""


def mutate(data: bytes, places: np.ndarray, rng) -> bytes:
    """Apply a few changes: flipped bits, bytes replaced by random ones, 0xff, 0 or other bytes; sometimes truncate."""
    made = np.frombuffer(data, np.uint8).copy()
    for _ in range(int(rng.integers(1, 6))):
        at, other = (int(place) for place in rng.choice(places, 2))
        some = slice(at, at + int(rng.integers(1, 64)))
        kind = rng.integers(5)
        if kind == 0:
            made[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            made[at : at + 8] = rng.integers(0, 256, len(made[at : at + 8]))
        elif kind == 2:
            made[at : at + 8] = 255
        elif kind == 3:
            made[some] = 0
        else:
            size = min(len(made[some]), len(made) - other)
            made[at : at + size] = made[other : other + size].copy()
    return made.tobytes() if rng.integers(10) else made.tobytes()[: int(rng.integers(len(made)))]


def structure(path) -> np.ndarray:
    """Return the positions of a shard that HDF5 interprets: everything except the pixels."""
    with h5py.File(path) as file:
        first = file["image"].id.get_offset()
        return np.r_[:first, first + file["image"].id.get_storage_size() : path.stat().st_size]


@pytest.fixture
def mutants(few, rounds, tmp_path):
    """Write damaged versions of the first training shard."""
    path = min(few.glob("train-*.h5"))
    data, places, rng = path.read_bytes(), structure(path), np.random.default_rng(0)
    made = []
    (tmp_path / "mutants").mkdir()
    while len(made) < 25 * rounds:
        if (mutant := mutate(data, places, rng)) != data:
            made.append(tmp_path / "mutants" / f"{len(made)}.h5")
            made[-1].write_bytes(mutant)
    return path, made


def test_every_reader_refuses_mutated_shards(mutants, tmp_path):
    (path, made), folder = mutants, tmp_path / "set"
    shutil.copytree(path.parent, folder)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder), path.name],
        cwd=TOP,
        input="\n".join(map(str, made)),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS + 2 * len(made),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(map(str, made))


def test_mutated_shard_is_regenerated_without_being_opened(mutants, request_of, small_shards, tmp_path, monkeypatch):
    """The shard is regenerated with and without the manifest."""
    (path, made), folder = mutants, tmp_path / "datasets" / mutants[0].parent.name
    shutil.copytree(path.parent, folder)
    expected = content(folder)
    monkeypatch.setattr(shards.h5py, "File", only_to_write(shards.h5py.File))
    for k, mutant in enumerate(made[::25]):
        shutil.copy(mutant, folder / path.name)
        if k % 2:
            (folder / "dataset.json").unlink()
        done = CliRunner().invoke(mnistref, request_of(tmp_path, sizes=FEW))
        assert done.exit_code == 0, done.output
        assert content(folder) == expected


def only_to_write(file):
    def opened(name, mode):
        assert mode == "w", "a shard was opened"
        return file(name, mode, libver=("v108", "v108"))

    return lambda name, mode="r", **_: opened(name, mode)


def test_mutated_shard_is_a_one_line_error_in_every_command(mutants, small_shards, tmp_path):
    (path, made), folder = mutants, tmp_path / "set"
    shutil.copytree(path.parent, folder)
    shutil.copy(made[0], folder / path.name)
    assert [fault.file for fault in verify(folder)] == [path.name]
    for command in (
        ["stats"],
        ["preview", "--split", "train", "-o", str(tmp_path / "x.png")],
        ["export", "--to", "png", "-o", str(tmp_path / "out")],
    ):
        done = CliRunner().invoke(mnistref, [command[0], str(folder), *command[1:]])
        assert done.exit_code == 3, (command, done.output)
        assert is_one_line(done.stderr)
        assert path.name in done.stderr
    assert CliRunner().invoke(mnistref, ["verify", str(folder)]).exit_code == 3
