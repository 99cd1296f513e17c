"""The batches of a split: images, questions and masks."""

import pytest
import torch

from bench.data.loading import load_split
from mnistref.dataset import MnistRef
from tests.bench.training.helpers import CPU


@pytest.mark.parametrize("queries", ["one", "all", "author"])
def test_batches_equal_the_stored_data_set(queries, mini):
    split, dataset = load_split(mini, "test", queries, CPU, masks=True), MnistRef(mini, "test", queries)
    assert len(split) == len(dataset)
    seen = 0
    for batch in split.batches(50):
        masks = split.masks(batch.indices)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for k in range(0, len(batch.indices), 7):
            sample = dataset[int(batch.indices[k])]
            image = batch.images[k if batch.image_index is None else batch.image_index[k]]
            torch.testing.assert_close(image, sample["image"].float() / 255)
            assert (int(batch.query[k]), int(batch.label[k])) == (sample["query"], sample["label"])
            assert torch.equal(masks[k], torch.as_tensor(sample["mask"]))
            assert float(split.scale[batch.indices[k]]) == sample["scale"]
        seen += len(batch.indices)
    assert seen == len(split)


def test_masks_are_loaded_only_for_a_test(mini):
    with pytest.raises(ValueError, match="without masks"):
        load_split(mini, "val", "one", CPU).masks(torch.tensor([0]))


def test_fading_changes_the_background_but_not_digits(make):
    folder = make("mdist", sizes={"train": 60, "val": 20, "test": 30})
    split = load_split(folder, "train", "one", CPU, masks=True)
    at = torch.arange(20)
    full, half, none = (split.batch(at, background).images for background in (1.0, 0.5, 0.0))
    digits = (split.instance[split.image[at]] > 0).unsqueeze(1).expand_as(full)
    assert torch.equal(full[digits], none[digits])
    assert none[~digits].eq(0).all()
    assert full[~digits].gt(0).any()
    assert torch.equal(half[~digits], full[~digits] / 2)
    assert none.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="without masks"):
        load_split(folder, "train", "one", CPU).batch(at, 0.5)
