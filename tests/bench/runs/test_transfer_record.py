"""The record of transfers to other images: written, read, and damaged."""

import json

import numpy as np
import pytest
import torch

from bench.common.safetensors_io import encode
from bench.runs.transfer_record import RECORD, TransferredSet
from mnistref.common.errors import DataProblemError

RIGHT, FOLD = np.array([1, 0, 1, 1]), np.array([0, 0, 1, 1])


def transferred(dataset: str = "folder-a-0", **more) -> TransferredSet:
    return {"dataset": dataset, "images": 4, "classes": 2, "features": 8, "folds": 2, **more}


@pytest.fixture
def run(tmp_path):
    RECORD.write(tmp_path / "run", transferred(), RIGHT, FOLD)
    return tmp_path / "run"


def test_transfers_are_read_as_they_were_written(run):
    (found,) = RECORD.read_all(run.parent).values()
    assert found.sets == [transferred()]
    assert found.right["folder-a-0"].tolist() == RIGHT.tolist()
    assert found.fold["folder-a-0"].tolist() == FOLD.tolist()
    assert found.fold_accuracies(transferred()) == [0.5, 1.0]


def test_transfers_to_other_images_are_kept_and_the_same_ones_are_replaced(run):
    RECORD.write(run, transferred("stl10-1"), 1 - RIGHT, FOLD)
    found = RECORD.write(run, transferred(features=9), RIGHT * 0, FOLD)
    assert found.sets == [transferred("stl10-1"), transferred(features=9)]
    assert found.right["stl10-1"].tolist() == [0, 1, 0, 0]
    assert not found.right["folder-a-0"].any()


def test_a_run_without_transfers_has_no_record(tmp_path):
    assert RECORD.read(tmp_path) is None
    assert RECORD.read_all(tmp_path) == {}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "sets missing or wrong"),
        ([transferred(), transferred()], "sets missing or wrong"),
        ([transferred(images=0)], "sets missing or wrong"),
        ([transferred("a/b")], "sets missing or wrong"),
        ([transferred(images=5)], "folder-a-0/fold, folder-a-0/right missing or wrong"),
        ([transferred(folds=3)], "folder-a-0/fold missing or wrong"),
        ([transferred("other")], "folder-a-0/fold, folder-a-0/right, other/fold missing or wrong"),
    ],
)
def test_wrong_settings_are_named(sets, message, run):
    (run / RECORD.settings_file).write_text(json.dumps({"format": 1, "sets": sets}))
    with pytest.raises(DataProblemError, match=message):
        RECORD.read(run)


def test_wrong_arrays_are_named(run):
    (run / RECORD.arrays_file).write_bytes(
        encode({"folder-a-0/right": torch.tensor([2, 0, 1, 1]), "folder-a-0/fold": torch.from_numpy(FOLD)})
    )
    with pytest.raises(DataProblemError, match=r"folder-a-0/right missing or wrong\); delete it and run `bench tran"):
        RECORD.read(run)
