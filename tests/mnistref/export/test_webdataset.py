"""WebDataset reads the exported tar files."""

import numpy as np
import pytest

from tests.mnistref.export.comparison import assert_equal, truth


@pytest.mark.parametrize("variant", ["mbginv", "mini"])
def test_webdataset_reads_the_tar_files(variant, exported):
    webdataset = pytest.importorskip("webdataset")
    folder, output = exported(variant, "webdataset")
    for split in ("train", "test"):
        (path,) = output.glob(f"{split}-*.tar")
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("pil"))
        assert [sample["__key__"] for sample in samples] == [f"{k:06d}" for k in range(len(samples))]
        rows = [{**s["json"], "image": s["png"]} for s in samples]
        grey = [{n: np.asarray(s[f"{n}.png"].convert("L")) for n in ("mask", "instance")} for s in samples]
        assert_equal([{**row, **masks} for row, masks in zip(rows, grey, strict=True)], truth(folder, split))
