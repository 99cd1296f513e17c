"""Splits on the device and streamed to it: the same batches; and the thread that makes what comes next."""

import platform
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.common import memory
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.data.loading import load_split
from bench.data.prefetch import prefetch
from bench.data.split import Resident, moved_together
from bench.data.streaming import Rows, Streamed
from bench.evaluation import evaluate
from bench.model import build
from bench.training.trainer import Trainer
from mnistref.common.errors import DataProblemError
from mnistref.dataset import map_split, read_manifest, read_split
from mnistref.storage.shards import image_offset
from tests.faults.helpers import finish, start_python

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")


@pytest.fixture(scope="module")
def two(make):
    """A set whose training split fills one shard and begins another."""
    return make("mini", sizes={"train": 1203, "val": 40, "test": 41})


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not threads()


def both(folder, queries="one", split="train", masks=False):
    return [load_split(folder, split, queries, CPU, masks, stream) for stream in (False, True)]


def same(a, b) -> None:
    for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
        assert (x is None and y is None) or torch.equal(x, y)


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


@pytest.mark.parametrize("queries", ["one", "all", "author"])
@pytest.mark.parametrize("size", [1, 37, 5000])
def test_streamed_split_has_the_batches_of_a_resident_split(queries, size, two):
    here, streamed = both(two, queries)
    assert isinstance(here, Resident)
    assert isinstance(streamed, Streamed)
    order = torch.randperm(len(here), generator=torch.Generator().manual_seed(3))[: 40 * size]
    batches = [list(split.each(order, size)) for split in (here, streamed)]
    assert [len(batch.at) for batch in batches[0]] == [len(part) for part in order.split(size)]
    for a, b in zip(*batches, strict=True):
        same(a, b)
        assert b.images.is_contiguous(memory_format=torch.channels_last)


class Copies(TorchDispatchMode):
    """Counts the tensors that come from the host to the device `meta`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = isinstance(made, torch.Tensor) and made.is_meta
        self.count += there and any(x.device.type == "cpu" for x in given)
        return made


def test_questions_of_an_epoch_are_copied_to_the_device_once():
    meta = {"dtype": torch.long, "device": "meta"}
    asked = {name: torch.zeros(12, **meta) for name in ("image", "slot", "query", "label")}
    split = Resident(**asked, images=torch.zeros(12, 8, 8, 3, dtype=torch.uint8, device="meta"))
    with Copies() as copies:
        assert [len(batch.at) for batch in split.each(torch.arange(12), 5)] == [5, 5, 2]
    assert copies.count == 1
    parts = [torch.tensor([3, 1]), torch.tensor([2])]
    assert moved_together(parts, CPU) is parts
    assert list(moved_together([], torch.device("meta"))) == []


def test_a_streamed_split_fades_and_has_masks(make):
    here, streamed = both(make("mdist"), "all", masks=True)
    order = torch.randperm(len(here), generator=torch.Generator().manual_seed(4))
    levels = [0.0, 0.25, 1.0, 0.5] * len(order)
    shown = [list(split.each(order, 33, levels.__getitem__)) for split in (here, streamed)]
    for a, b in zip(*shown, strict=True):
        same(a, b)
        assert torch.equal(here.masks(a.at), streamed.masks(b.at))
    assert not torch.equal(shown[0][0].images, next(here.each(order, 33)).images)
    assert torch.equal(here.scale, streamed.scale)
    same(here.batch(order[:5], 0.5), streamed.batch(order[:5], 0.5))


def test_masks_of_a_split_without_masks_are_an_error(two):
    for split in both(two):
        batches = split.each(torch.arange(9), 3, lambda k: 0.5)
        with pytest.raises(ValueError, match="without masks"):
            next(batches)


def test_an_index_out_of_range_is_an_error_in_the_consumer(two):
    parts = map_split(two, "train")
    split = load_split(two, "train", "one", CPU, stream=True)
    short = replace(split, images=Rows(parts[:1]))
    with pytest.raises(IndexError), closing(short.each(torch.arange(1203), 100)) as batches:
        for _ in batches:
            pass


@pytest.mark.parametrize("harm", ["bytes", "cut", "missing"])
def test_a_damaged_shard_is_not_streamed(harm, make):
    folder = make("mini", sizes={"train": 9, "val": 8, "test": 7}, seed={"bytes": 71, "cut": 72, "missing": 73}[harm])
    path = next(folder.glob("train-*.h5"))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.unlink()
    if harm != "missing":
        path.write_bytes(data[:-1] if harm == "cut" else data)
    with pytest.raises(DataProblemError, match=path.name):
        load_split(folder, "train", "one", CPU, stream=True)


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
        trainer = Trainer(replace(SHORT, batch=100, fade=0.5), model, train, val, 0, ComputeConfig(CPU))
        history = [{**record, "seconds": 0} for record in trainer.epochs()]
        found.append((history, trainer.model.state_dict()))
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


def test_interrupted_training_ends_the_prefetch_thread(two):
    class StopError(Exception):
        pass

    def stop():
        assert threads()
        raise StopError

    train, val = (load_split(two, split, "one", CPU, stream=True) for split in ("train", "val"))
    model = build("none", read_manifest(two).variant, 0, CPU)
    trainer = Trainer(SHORT, model, train, val, 0, ComputeConfig(CPU))
    with pytest.raises(StopError):
        next(trainer.epochs(stop))
    assert not threads()


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


def test_free_memory_is_known_and_bounded_by_the_container(tmp_path):
    free = memory.free_memory(CPU)
    assert free is None or 1e6 < free < 1e14
    for name, text in (
        ("max", "5000\n"),
        ("current", "4000\n"),
        ("stat", "anon 9\ninactive_file 70\nactive_file 30\n"),
    ):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory._free_in_container(tmp_path) == 1100
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_in_container(tmp_path) is None
    assert memory._free_in_container(tmp_path / "none") is None


def test_a_quarter_of_a_large_memory_is_left_free(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 40_000_000_000)
    assert memory.fits(30e9, CPU)
    assert not memory.fits(30e9 + 1, CPU)
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    assert memory.fits(1e18, CPU)


FAULTS = """
import resource, sys, torch
from bench.common.memory import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed(torch.device("cpu"))
convolve, images = torch.nn.Conv2d(3, 32, 3, padding=1), torch.rand(30, 3, 100, 100)
faults = []
for _ in range(7):
    convolve(images).relu().sum().backward()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-4])
"""


def test_freed_memory_is_reused_by_the_process():
    """Large tensors that are made and freed again and again come from the kernel once, not page by page each time."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("for glibc only")
    found = []
    for how in ("given back", "kept"):
        status, out, errors = finish(start_python(FAULTS, [how]))
        assert status == 0, errors
        found.append(int(out))
    assert found[0] > 3 * 9_000  # pages of 4 KB, of 38 MB
    assert found[1] < found[0] / 4


def counted(stopped, made, until=10**9):
    for k in range(until):
        made.append(k)
        yield k


def test_prefetch_returns_items_in_order_and_makes_no_surplus():
    made: list[int] = []
    with closing(prefetch(lambda stopped: counted(stopped, made, 20), depth=3)) as items:
        assert next(items) == 0
        time.sleep(0.1)
        assert made == [0, 1, 2, 3]
        assert list(items) == list(range(1, 20))
    assert not threads()


def test_prefetch_raises_an_error_at_the_position_of_its_item():
    def make(stopped):
        yield 1
        raise OSError("the disk is gone")

    items = prefetch(make, depth=4)
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not threads()


def test_prefetch_thread_is_told_to_stop():
    seen = []

    def make(stopped):
        yield 1
        while not stopped():
            time.sleep(0.001)
        seen.append("stopped")

    items = prefetch(make, depth=2)
    assert next(items) == 1
    items.close()
    assert seen == ["stopped"]
    assert not threads()


def test_prefetch_thread_ends_when_its_iterator_is_deleted():
    items = prefetch(lambda stopped: counted(stopped, []), depth=2)
    next(items)
    assert threads()
    del items
    assert not threads()
