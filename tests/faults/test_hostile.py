"""Malicious files given as weights and as checkpoint are refused, and none of their code runs."""

import gzip
import hashlib
import io
import json
import marshal
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import cli
from bench.common.safetensors_io import decode_plainly, encode
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.model import create_model
from bench.runs import experiment, records
from bench.training import checkpoints
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.errors import DataProblemError

SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


class Payload:
    """An object whose unpickling creates the file `mark`."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def safetensors(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def one(**changes) -> dict:
    return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def torch_saved(value: object, **how) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def hdf5(value: bytes) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        made["a"] = np.void(value)
    return file.getvalue()


def hostile(mark: Path) -> dict[str, bytes]:
    """Return the content of hostile files by description."""
    evil = pickle.dumps(Payload(mark))
    code = f"import os; os.system('touch {mark}')"
    right = encode({"a": torch.ones(3)})
    return {
        "a pickle": evil,
        "a pickle of protocol 0": pickle.dumps(Payload(mark), protocol=0),
        "a pickle by torch.save": torch_saved(Payload(mark)),
        "the same in the old form": torch_saved(Payload(mark), _use_new_zipfile_serialization=False),
        "tensors and a payload by torch.save": torch_saved({"head.norm.weight": torch.ones(32), "x": Payload(mark)}),
        "a zip like torch.save's": zipped(**{"archive/data.pkl": evil, "archive/version": b"3\n"}),
        "a pickled array": npz(a=np.array([Payload(mark)], dtype=object)),
        "marshalled code": marshal.dumps(compile(code, "x", "exec")),
        "Python": code.encode(),
        "a script": f"#!/bin/sh\ntouch {mark}\n".encode(),
        "YAML that calls": f"!!python/object/apply:os.system ['touch {mark}']".encode(),
        "a compressed pickle": gzip.compress(evil),
        "an archive that escapes": tarred(evil),
        "HDF5": hdf5(evil),
        "nothing": b"",
        "a header longer than the file": safetensors(one(), bytes(4), length=1 << 40),
        "a header of 2^64 - 1 bytes": safetensors(one(), bytes(4), length=(1 << 64) - 1),
        "a header that is no JSON": safetensors(b"{" * 50, bytes(4)),
        "a header of a million brackets": safetensors(b"[" * 1_000_000, bytes(4)),
        "a header that is a list": safetensors([1, 2], bytes(4)),
        "a pickle behind a right header": safetensors(one(data_offsets=[0, len(evil)]), evil),
        "offsets before the beginning": safetensors(one(data_offsets=[-4, 0]), bytes(4)),
        "offsets behind the end": safetensors(one(data_offsets=[4, 8]), bytes(4)),
        "a shape of 2^62 numbers": safetensors(one(shape=[1 << 62]), bytes(4)),
        "a negative shape": safetensors(one(shape=[-1, -1]), bytes(4)),
        "an unknown dtype": safetensors(one(dtype="OBJECT"), bytes(4)),
        "tensors that share bytes": safetensors({**one(), "b": one()["a"]}, bytes(4)),
        "bytes that are left over": right + evil,
        "a file that is cut": right[:-3],
    }


KINDS = list(hostile(Path("mark")))


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory) -> Path:
    config = experiment.configure(
        mini, "pan", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(torch.device("cpu")))
    )
    return experiment.run(config, mini, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("kind", ["a pickle", "a pickle of protocol 0"])
def test_hostile_pickles_run_code_when_unpickled(kind, tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(hostile(mark)[kind])
    assert mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused_as_weights(kind, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "weights.safetensors"
    path.write_bytes(hostile(mark)[kind])
    model = create_model("pan", variant="mini")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataProblemError, match=r"weights\.safetensors: "):
        checkpoints.load_weights(path, model)
    assert not mark.exists()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused_without_the_library(kind, tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, RuntimeError)):
        decode_plainly(hostile(mark)[kind])
    assert not mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused_as_a_checkpoint(kind, mini, tmp_path):
    """Try the file as the tensors of a checkpoint, with a matching digest, and as its JSON."""
    mark, folder = tmp_path / "mark", tmp_path / "checkpoint"
    train, val = (load_split(mini, split, "one", torch.device("cpu")) for split in ("train", "val"))
    model = create_model("pan", variant="mini")
    trainer = Trainer(SHORT, model, TrainingSplits(train, val), 0, ComputeConfig(torch.device("cpu")))
    checkpoints.save(tmp_path, trainer)
    data = hostile(mark)[kind]
    rest = json.loads((folder / "state.json").read_text()) | {"tensors": hashlib.sha256(data).hexdigest()}
    (folder / f"{rest['tensors'][:16]}-state.safetensors").write_bytes(data)
    (folder / "state.json").write_text(json.dumps(rest))
    with pytest.raises(DataProblemError):
        checkpoints.load(tmp_path, trainer)
    (folder / "state.json").write_bytes(data)
    with pytest.raises(DataProblemError, match=r"state\.json: damaged checkpoint"):
        checkpoints.load(tmp_path, trainer)
    assert not mark.exists()


@pytest.mark.parametrize(
    "forged",
    [
        {"epoch": -3},
        {"epoch": "3"},
        {"epoch": 99},
        {"best_epoch": 2},
        {"best_epoch": 1},
        {"best_accuracy": "zz"},
        {"best_accuracy": float("nan")},
        {"schedule": {"step": 1}},
        {"schedule": {"total_steps": "9"}},
        {"schedule": []},
        {"under": {"steps": 10**9, "lr": 0.1, "seconds": 1.0}},
        {"under": {"steps": 1, "lr": None, "seconds": 1.0}},
        {"groups": "none"},
    ],
    ids=str,
)
def test_forged_counts_and_numbers_are_refused(forged, mini, tmp_path):
    train, val = (load_split(mini, split, "one", torch.device("cpu")) for split in ("train", "val"))
    model, splits = create_model("pan", variant="mini"), TrainingSplits(train, val)
    trainer = Trainer(SHORT, model, splits, 0, ComputeConfig(torch.device("cpu")))
    checkpoints.save(tmp_path, trainer)
    path = tmp_path / "checkpoint" / "state.json"
    assert checkpoints.load(tmp_path, trainer)
    path.write_text(json.dumps(json.loads(path.read_text()) | forged))
    with pytest.raises(DataProblemError, match=r"damaged checkpoint .* run again with --restart"):
        checkpoints.load(tmp_path, trainer)


@pytest.mark.parametrize("kind", ["a pickle", "a pickle by torch.save", "a header of a million brackets"])
def test_commands_refuse_a_hostile_file_in_one_line(kind, finished, mini, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for file in finished.glob("*.json*"):
        (run / file.name).write_bytes(file.read_bytes())
    mark = tmp_path / "mark"
    (run / records.WEIGHTS).write_bytes(hostile(mark)[kind])
    done = CliRunner().invoke(
        cli.bench, ["show", str(run), "-o", str(tmp_path / "x.png"), "--root", str(mini.parent.parent)]
    )
    assert done.exit_code == 3, done.output
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not mark.exists()
