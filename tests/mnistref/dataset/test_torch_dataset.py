"""`MnistRef` as a PyTorch data set: items, queries, transforms, slices, workers and errors."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from mnistref import MnistRef
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import read_split
from mnistref.storage.schema import FIELDS
from mnistref.variants import VARIANTS
from tests.helpers import long_form

TRAINABLE = [v for v in VARIANTS if "train" in VARIANTS[v].splits]


@pytest.mark.parametrize("variant", TRAINABLE)
def test_items_equal_the_content_of_the_shards(variant, make):
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
        assert isinstance(sample["boxes"], tv_tensors.BoundingBoxes)
        assert sample["boxes"].format is tv_tensors.BoundingBoxFormat.XYXY
        assert sample["boxes"].canvas_size == (canvas, canvas)
        assert sample["boxes"].tolist() == [sample["box"][[1, 0, 3, 2]].tolist()]
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


@pytest.mark.parametrize(
    ("transforms", "boxes", "box"),
    [
        (v2.ConvertBoundingBoxFormat("XYWH"), lambda y0, x0, y1, x1: [[x0, y0, x1 - x0, y1 - y0]], True),
        (lambda sample: {**sample, "boxes": sample["boxes"][:0]}, lambda *_: [], False),
        (lambda sample: {"image": sample["image"]}, None, False),
    ],
    ids=["converted", "removed", "left out"],
)
def test_transforms_may_convert_or_remove_the_boxes(transforms, boxes, box, make):
    plain, sample = MnistRef(make("mref"))[3], MnistRef(make("mref"), transforms=transforms)[3]
    assert ("box" in sample) == box
    assert not box or torch.equal(sample["box"], plain["box"])
    assert boxes is None or sample["boxes"].tolist() == boxes(*plain["box"].tolist())


def test_transforms_of_a_dataset_may_return_anything(make):
    dataset = MnistRef(make("mini"), transforms=lambda sample: (sample["image"], sample["query"]))
    assert [type(part) for part in dataset[0]] == [tv_tensors.Image, int]


def test_transforms_of_the_image_and_of_the_label(make):
    plain = MnistRef(make("mini"))[3]
    changed = MnistRef(make("mini"), transform=v2.ToDtype(torch.float32, scale=True), target_transform=str)[3]
    torch.testing.assert_close(torch.as_tensor(changed["image"]), torch.as_tensor(plain["image"]) / 255)
    assert changed["label"] == str(plain["label"])
    assert torch.equal(changed["mask"], plain["mask"])
    for other in ({"transform": str}, {"target_transform": str}):
        with pytest.raises(UsageProblemError, match="not both"):
            MnistRef(make("mini"), transforms=str, **other)


def test_classes_are_the_names_of_the_labels(make):
    assert MnistRef(make("mini")).classes == ["green", "yellow", "white", "red", "blue"]
    assert MnistRef(make("miniinv")).classes == list("0123456789")


@pytest.mark.parametrize(
    "part", [slice(10, 20), slice(None), slice(-5, None), slice(None, None, -7), slice(50, 5), slice(0, 10**9, 11)]
)
def test_a_slice_is_a_data_set_of_these_questions(part, make):
    dataset = MnistRef(make("mini"), queries="all", transform=v2.Identity())
    view, numbers = dataset[part], range(len(dataset))[part]
    assert isinstance(view, MnistRef)
    assert len(view) == len(numbers)
    assert (view.split, view.queries, view.classes, view.transform) == (
        "train",
        "all",
        dataset.classes,
        dataset.transform,
    )
    for k, number in enumerate(numbers[:9]):
        for name, value in dataset[number].items():
            assert torch.equal(torch.as_tensor(view[k][name]), torch.as_tensor(value)), name
    assert len(view[1:3]) == len(numbers[1:3])
    assert len(pickle.loads(pickle.dumps(view))) == len(numbers)


def test_slices_and_items_agree_with_numpy_indices(make):
    dataset = MnistRef(make("mini"))
    assert torch.equal(dataset[np.int64(3)]["image"], dataset[torch.tensor(3)]["image"])
    with pytest.raises(TypeError):
        dataset["3"]


@pytest.mark.parametrize("index", [[1, 2], (1, 2), "1", 1.0, None])
def test_an_index_of_another_type_is_refused_in_one_line(index, make):
    with pytest.raises(TypeError, match=f"an index of type {type(index).__name__}: pass a whole number or a slice"):
        MnistRef(make("mini"))[index]


def test_repr_of_the_dataset_names_variant_split_and_queries(make):
    text = repr(MnistRef(make("mini"), split="test", transform=v2.Identity()))
    assert text.splitlines()[0] == "Dataset MnistRef mini"
    for part in ("Number of datapoints: 30", str(make("mini")), "test", "48 × 48", "green", "transform: Identity()"):
        assert part in text
    assert "target_transform" not in text


@pytest.mark.parametrize("start", long_form(["fork", "spawn"], ["fork"]))
def test_loader_workers_read_the_same_items(start, make):
    dataset = MnistRef(make("mini"))[:12]
    wanted = [dataset[k] for k in range(12)]  # shards are mapped before the workers start
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=start)
    for sample, other in zip(loader, wanted, strict=True):
        assert sample.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(sample[k]), torch.as_tensor(other[k])) for k in other)
        assert sample["boxes"].format is tv_tensors.BoundingBoxFormat.XYXY


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader_collates_batches(workers, make):
    dataset = MnistRef(make("mini"))
    dataset[0]  # shards are mapped before the workers start
    batches = list(DataLoader(dataset, batch_size=16, num_workers=workers))
    assert batches[0]["boxes"].shape == (16, 1, 4)
    images = torch.cat([b["image"] for b in batches])
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1), read_split(dataset.folder, "train", "image")["image"])


def test_dataset_with_open_files_can_be_pickled(make):
    dataset = MnistRef(make("mini"))
    first = dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[0]["image"], first["image"])


def test_dataset_indices_beyond_the_end_raise(make):
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
def test_wrong_dataset_arguments_are_refused(arguments, message, make):
    with pytest.raises(UsageProblemError, match=message):
        MnistRef(make("mini"), **arguments)


def test_dataset_of_a_folder_without_data_is_a_usage_error(tmp_path):
    with pytest.raises(UsageProblemError, match="mnistref generate"):
        MnistRef(tmp_path)


def test_item_of_a_damaged_shard_is_a_data_error(make, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(make("mini"), folder)
    (folder / "train-00000-of-00001.h5").write_bytes(b"damaged")
    with pytest.raises(DataProblemError, match="train-00000"):
        MnistRef(folder)


def test_shards_open_with_plain_h5py(make):
    with h5py.File(make("mbg") / "val-00000-of-00001.h5") as file:
        assert {len(field) for field in file.values()} == {20}


def test_selected_questions_are_a_data_set(make):
    data = MnistRef(make("mini"))
    some = data.select([5, -1, 5])
    assert len(some) == 3
    for position, number in enumerate((5, len(data) - 1, 5)):
        assert torch.equal(some[position]["image"], data[number]["image"])
        assert some[position]["query"] == data[number]["query"]
        assert torch.equal(some[position]["box"], data[number]["box"])
    assert len(data.select([])) == 0
    mask = np.arange(len(data)) % 3 == 0
    for given in (mask, mask.tolist()):
        assert data.select(given).triples.image.tolist() == data.triples.image[::3].tolist()
    with pytest.raises(IndexError, match=f"a mask of 2 values for {len(data)} questions"):
        data.select([True, False])
    with pytest.raises(TypeError, match="an index of type bool"):
        data[True]
    with pytest.raises(IndexError):
        data.select([len(data)])
