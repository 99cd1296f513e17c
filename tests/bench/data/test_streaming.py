"""Splits that are streamed to the device."""

from contextlib import closing
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.data.loading import load_split
from bench.data.split import Resident, move_in_one_copy
from bench.data.streaming import ImageArrays, Streamed
from mnistref.common.errors import DataProblemError
from mnistref.dataset import map_split
from tests.bench.data.helpers import both, same

pytestmark = pytest.mark.usefixtures("no_prefetch_thread_remains")


CPU = torch.device("cpu")


@pytest.mark.parametrize("queries", ["one", "all", "author"])
@pytest.mark.parametrize("size", [1, 37, 5000])
def test_streamed_split_has_the_batches_of_a_resident_split(queries, size, two):
    here, streamed = both(two, queries)
    assert isinstance(here, Resident)
    assert isinstance(streamed, Streamed)
    order = torch.randperm(len(here), generator=torch.Generator().manual_seed(3))[: 40 * size]
    batches = [list(split.iter_batches(order, size)) for split in (here, streamed)]
    assert [len(batch.indices) for batch in batches[0]] == [len(part) for part in order.split(size)]
    for a, b in zip(*batches, strict=True):
        same(a, b)
        assert b.images.is_contiguous(memory_format=torch.channels_last)


class Copies(TorchDispatchMode):
    """A mode that counts the tensors copied from the host to the device `meta`."""

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
        assert [len(batch.indices) for batch in split.iter_batches(torch.arange(12), 5)] == [5, 5, 2]
    assert copies.count == 1
    parts = [torch.tensor([3, 1]), torch.tensor([2])]
    assert move_in_one_copy(parts, CPU) is parts
    assert list(move_in_one_copy([], torch.device("meta"))) == []


def test_a_streamed_split_fades_and_has_masks(make):
    here, streamed = both(make("mdist"), "all", masks=True)
    order = torch.randperm(len(here), generator=torch.Generator().manual_seed(4))
    levels = [0.0, 0.25, 1.0, 0.5] * len(order)
    shown = [list(split.iter_batches(order, 33, levels.__getitem__)) for split in (here, streamed)]
    for a, b in zip(*shown, strict=True):
        same(a, b)
        assert torch.equal(here.masks(a.indices), streamed.masks(b.indices))
    assert not torch.equal(shown[0][0].images, next(here.iter_batches(order, 33)).images)
    assert torch.equal(here.scale, streamed.scale)
    same(here.batch(order[:5], 0.5), streamed.batch(order[:5], 0.5))


def test_masks_of_a_split_without_masks_are_an_error(two):
    for split in both(two):
        batches = split.iter_batches(torch.arange(9), 3, lambda k: 0.5)
        with pytest.raises(ValueError, match="without masks"):
            next(batches)


def test_an_index_out_of_range_is_an_error_in_the_consumer(two):
    parts = map_split(two, "train")
    split = load_split(two, "train", "one", CPU, stream=True)
    short = replace(split, images=ImageArrays(parts[:1]))
    with pytest.raises(IndexError), closing(short.iter_batches(torch.arange(1203), 100)) as batches:
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
