import pickle

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

import mnistref
from mnistref import MnistRef
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import read_split
from mnistref.storage.schema import FIELDS
from mnistref.variants import VARIANTS

TRAINABLE = [v for v in VARIANTS if "train" in VARIANTS[v].splits]


@pytest.mark.parametrize("variant", TRAINABLE)
def test_items_are_what_the_shards_hold(variant, make):
    folder, canvas = make(variant), VARIANTS[variant].canvas
    dataset, arrays = MnistRef(folder, split="val"), read_split(make(variant), "val", *FIELDS)
    assert len(dataset) == 20
    for i in (0, 7, 19):
        sample = dataset[i]
        slot = arrays["query_slot"][i]
        assert isinstance(sample["image"], tv_tensors.Image)
        assert sample["image"].dtype == torch.uint8
        np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), arrays["image"][i])
        assert isinstance(sample["mask"], tv_tensors.Mask)
        assert sample["mask"].shape == (canvas, canvas)
        np.testing.assert_array_equal(sample["mask"], arrays["instance"][i] == slot + 1)
        assert (sample["query"], sample["label"]) == (arrays["query"][i], arrays["label"][i])
        assert sample["scale"] == arrays["scale"][i]
        np.testing.assert_array_equal(sample["box"], arrays["digit_box"][i, slot])
        ys, xs = np.nonzero(sample["mask"].numpy())
        y0, x0, y1, x1 = sample["box"].tolist()
        assert y0 <= ys.min() <= ys.max() < y1
        assert x0 <= xs.min() <= xs.max() < x1


def test_all_queries_are_every_digit_of_every_image(make):
    folder = make("mref")
    arrays, dataset = read_split(folder, "train", *FIELDS), MnistRef(folder, queries="all")
    assert len(dataset) == arrays["count"].sum()
    k = 0
    for i, count in enumerate(arrays["count"]):
        for slot in range(count):
            sample = dataset[k]
            assert (sample["query"], sample["label"]) == (
                arrays["digit_class"][i, slot],
                arrays["digit_color"][i, slot],
            )
            np.testing.assert_array_equal(sample["mask"], arrays["instance"][i] == slot + 1)
            k += 1


def test_all_queries_of_mbginv_are_the_colors_that_occur_once(make):
    folder = make("mbginv")
    colors, dataset = read_split(folder, "train", "digit_color")["digit_color"], MnistRef(folder, queries="all")
    once = sum(int((row[row >= 0] == c).sum() == 1) for row in colors for c in range(5))
    assert len(dataset) == once


def test_author_queries_are_the_first_triples(make):
    every, author = MnistRef(make("mref"), queries="all"), MnistRef(make("mref"), queries="author")
    assert len(author) == 60
    for field in ("image", "slot", "query", "label"):
        np.testing.assert_array_equal(getattr(author.triples, field), getattr(every.triples, field)[:60])


def test_mbgmulti_gives_the_set_of_right_answers(make):
    dataset = MnistRef(make("mbgmulti"), split="test")
    arrays = read_split(dataset.folder, "test", "digit_class", "digit_color")
    for i in range(len(dataset)):
        sample = dataset[i]
        right = arrays["digit_color"][i][arrays["digit_class"][i] == sample["query"]]
        assert sorted(right.tolist()) == torch.nonzero(sample["labels"]).flatten().tolist()
        assert sample["labels"][sample["label"]]
        assert len(right) in (2, 3)


def test_transforms_move_image_mask_and_box_together(make):
    plain = MnistRef(make("mref"))[3]
    flipped = MnistRef(make("mref"), transforms=v2.RandomHorizontalFlip(1.0))[3]
    torch.testing.assert_close(torch.as_tensor(flipped["image"]), torch.as_tensor(plain["image"]).flip(-1))
    torch.testing.assert_close(torch.as_tensor(flipped["mask"]), torch.as_tensor(plain["mask"]).flip(-1))
    y0, x0, y1, x1 = plain["box"].tolist()
    assert flipped["box"].tolist() == [y0, 100 - x1, y1, 100 - x0]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_by_the_data_loader(workers, make):
    dataset = MnistRef(make("mini"))
    dataset[0]  # files are open before the workers start
    batches = list(DataLoader(dataset, batch_size=16, num_workers=workers))
    images = torch.cat([b["image"] for b in batches])
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1), read_split(dataset.folder, "train", "image")["image"])


def test_it_can_be_pickled_with_open_files(make):
    dataset = MnistRef(make("mini"))
    first = dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[0]["image"], first["image"])


def test_indices_beyond_the_end(make):
    dataset = MnistRef(make("mini"), split="test")
    assert torch.equal(dataset[-1]["image"], dataset[29]["image"])
    for index in (30, -31):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "nosuch"}, "has no 'nosuch' split"),
        ({"queries": "some"}, "give one of one, all, author"),
    ],
)
def test_wrong_arguments(arguments, message, make):
    with pytest.raises(UsageProblemError, match=message):
        MnistRef(make("mini"), **arguments)


def test_a_folder_without_a_set(tmp_path):
    with pytest.raises(UsageProblemError, match="mnistref generate"):
        MnistRef(tmp_path)


def test_a_damaged_shard_is_a_data_error(make, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(make("mini"), folder)
    (folder / "train-00000-of-00001.h5").write_bytes(b"damaged")
    with pytest.raises(DataProblemError, match="train-00000"):
        MnistRef(folder)


def test_hdf5_row_first_arrays_open_without_our_code(make):
    with h5py.File(make("mbg") / "val-00000-of-00001.h5") as file:
        assert {len(field) for field in file.values()} == {20}


def test_the_package_names_what_it_offers():
    assert "MnistRef" in mnistref.__all__
    with pytest.raises(AttributeError, match="nosuch"):
        mnistref.nosuch  # noqa: B018
