"""`datasets` reads the exported folders of images."""

import pytest

from tests.mnistref.export.comparison import assert_equal, truth


@pytest.mark.parametrize("variant", ["mbginv", "mini"])
def test_datasets_reads_the_folder_of_images(variant, exported, load):
    folder, output = exported(variant, "png")
    found = load("imagefolder", data_dir=str(output))
    assert set(found) == {"train", "validation", "test"}  # `datasets` renames val
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        assert_equal(list(found[name]), truth(folder, split))
    assert (output / "val" / "000019.png").is_file()
    assert sorted(p.name for p in (output / "val").iterdir() if p.suffix != ".png") == [
        "instances",
        "masks",
        "metadata.jsonl",
    ]
