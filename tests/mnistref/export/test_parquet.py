"""`datasets` reads the exported Parquet files."""

import pytest

from mnistref.export.rows import VALUES
from mnistref.storage.manifest import read_manifest
from tests.mnistref.export.comparison import assert_equal, truth


@pytest.mark.parametrize("variant", ["mbginv", "mini"])
def test_datasets_reads_parquet(variant, exported, load):
    folder, output = exported(variant, "parquet")
    files = {split: str(output / f"{split}-*.parquet") for split in ("train", "val", "test")}
    found = load("parquet", data_files=files)
    for split, rows in found.items():
        assert_equal(list(rows), truth(folder, split))
    features, law = found["train"].features, read_manifest(folder).variant
    assert features["label"].names == list(law.label_names)
    assert features["query"].names == list(law.query_names)
    assert list(features) == ["image", "mask", "instance", *VALUES]
