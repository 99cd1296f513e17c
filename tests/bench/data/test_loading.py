"""Splits that are loaded to the device or streamed to it."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from bench.common import memory
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.data.split import Resident
from bench.data.streaming import Streamed
from bench.evaluation import evaluate
from bench.model import build
from bench.training.trainer import Trainer, TrainingSplits
from mnistref.common.errors import DataProblemError
from mnistref.dataset import map_split, read_manifest, read_split
from mnistref.storage.shards import image_offset
from tests.bench.data.helpers import both, prefetch_threads

pytestmark = pytest.mark.usefixtures("no_prefetch_thread_remains")

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")


def test_memory_mapped_images_equal_images_that_are_read(two):
    parts = map_split(two, "train")
    assert [part.shape for part in parts] == [(1000, 48, 48, 3), (203, 48, 48, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), read_split(two, "train", "image")["image"])


def test_chunked_images_are_not_memory_mapped(tmp_path):
    path, images = tmp_path / "shard.h5", np.zeros((4, 6, 6, 3), np.uint8)
    for options in ({}, {"chunks": (2, 6, 6, 3)}, {"compression": "gzip"}):
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=images + 5, **options)
        with h5py.File(path, "r") as file:
            if options:
                with pytest.raises(DataProblemError, match=r"shard\.h5: .* cannot be memory-mapped"):
                    image_offset(file, path)
            else:
                assert path.read_bytes()[image_offset(file, path) :][: images.size] == b"\5" * images.size


def test_memory_mapped_split_holds_no_file_open(two):
    fds = Path("/proc/self/fd")
    if not fds.is_dir():
        pytest.skip("no /proc here")
    before = len(list(fds.iterdir()))
    parts = [map_split(two, "train") for _ in range(5)]
    assert len(list(fds.iterdir())) == before
    assert len(parts) == 5


def test_changes_of_memory_mapped_images_do_not_reach_the_file(two):
    before = read_split(two, "test", "image")["image"]
    map_split(two, "test")[0][:] = 7
    np.testing.assert_array_equal(read_split(two, "test", "image")["image"], before)


def test_measures_are_equal_on_streamed_and_resident_splits(two):
    model = build("san", read_manifest(two).variant, 0, CPU)
    resident, streamed = [evaluate.test(model, split) for split in both(two, split="test", masks=True)]
    assert resident.measures == streamed.measures
    assert all(value.equal(streamed.answers[name]) for name, value in resident.answers.items())


def test_streamed_training_equals_resident_training_to_the_bit(mini):
    found = []
    for stream in (False, True):
        train = load_split(mini, "train", "all", CPU, True, stream)
        val = load_split(mini, "val", "one", CPU, stream=stream)
        model = build("san", read_manifest(mini).variant, 0, CPU)
        trainer = Trainer(replace(SHORT, batch=100, fade=0.5), model, TrainingSplits(train, val), 0, ComputeConfig(CPU))
        history = [{**record, "seconds": 0, "device_seconds": 0} for record in trainer.epochs()]
        found.append((history, trainer.model.state_dict()))
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


def test_interrupted_training_ends_the_prefetch_thread(two):
    class StopError(Exception):
        pass

    def stop():
        assert prefetch_threads()
        raise StopError

    train, val = (load_split(two, split, "one", CPU, stream=True) for split in ("train", "val"))
    model = build("none", read_manifest(two).variant, 0, CPU)
    trainer = Trainer(SHORT, model, TrainingSplits(train, val), 0, ComputeConfig(CPU))
    with pytest.raises(StopError):
        next(trainer.epochs(stop))
    assert not prefetch_threads()


def test_split_larger_than_free_memory_is_streamed(two, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(memory, "_free_in_container", lambda: None)
    size = 1203 * 48 * 48 * 3
    for free, kind in ((size + 1e9, Resident), (size + 1e9 - 1, Streamed)):
        monkeypatch.setattr(memory, "_free_on_host", lambda free=free: free)
        assert type(load_split(two, "train", "one", CPU)) is kind
    assert [record.message.split(":")[0] for record in caplog.records] == ["train"]
    assert "are streamed" in caplog.text
    assert type(load_split(two, "train", "one", CPU, stream=False)) is Resident
    assert len(caplog.records) == 1
