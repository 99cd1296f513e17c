"""Digit sources: mnist5k, folders of IDX files, their splits, and damaged files."""

import gzip
import shutil

import numpy as np
import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.sources.digits import load_digits, load_unchanged, require_digit_source
from mnistref.sources.idx_files import read_idx
from mnistref.sources.photos import list_photos, require_photo_source
from mnistref.spec import SPLITS
from tests.conftest import write_idx


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_unchanged.cache_clear()
    yield
    load_unchanged.cache_clear()


def test_mnist5k_is_split_by_class(digits):
    assert digits.images.shape == (5000, 28, 28)
    for split, each in (("train", 300), ("val", 100), ("test", 100)):
        assert np.bincount(digits.labels[digits.splits[split]]).tolist() == [each] * 10
    everyone = np.concatenate([digits.splits[s] for s in SPLITS])
    assert len(set(everyone.tolist())) == 5000


def test_mnist5k_is_cached_and_its_checksum_checked(tmp_path, digits):
    raw = tmp_path / "raw"
    first = load_digits("mnist5k", raw)
    assert first.sha256 == digits.sha256
    kept = raw / "mnist5k.npz"
    with np.load(kept) as arrays:
        np.savez_compressed(kept, images=arrays["images"][::-1], labels=arrays["labels"])
    load_unchanged.cache_clear()
    with pytest.raises(DataProblemError, match="delete it and run again"):
        load_digits("mnist5k", raw)
    kept.write_bytes(b"no zip")
    with pytest.raises(DataProblemError, match="damaged"):
        load_digits("mnist5k", raw)


def test_idx_folder_is_split_like_mnist(idx_folder, tmp_path):
    found = load_digits(str(idx_folder), tmp_path)
    assert [len(found.splits[s]) for s in SPLITS] == [500, 100, 200]
    np.testing.assert_array_equal(np.concatenate([found.splits[s] for s in SPLITS]), np.arange(800))


def test_gzipped_idx_folder_is_the_same_source(idx_folder, tmp_path):
    for file in idx_folder.iterdir():
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert load_digits(str(tmp_path), tmp_path).sha256 == load_digits(str(idx_folder), tmp_path).sha256


def test_digits_are_read_again_after_their_files_change(idx_folder, tmp_path):
    folder = copied(idx_folder, tmp_path)
    before = load_digits(str(folder), tmp_path)
    assert load_digits(str(folder), tmp_path) is before
    labels = read_idx(folder, "t10k-labels-idx1-ubyte")
    write_idx(folder / "t10k-labels-idx1-ubyte", labels[::-1].copy())
    after = load_digits(str(folder), tmp_path)
    assert after.labels[-len(labels) :].tolist() == labels[::-1].tolist()
    assert after.sha256 != before.sha256


@pytest.mark.parametrize("require", [require_digit_source, require_photo_source])
def test_an_empty_source_is_not_the_working_directory(require):
    with pytest.raises(UsageProblemError, match=r"no .* source ''"):
        require("")


def copied(idx_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(idx_folder, folder)
    return folder


def damage_missing(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()


def damage_truncated(folder):
    file = folder / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])


def damage_magic(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(b"PK\x03\x04 not an idx file")


def damage_gzip(folder):
    file = folder / "train-images-idx3-ubyte"
    (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes())[:-9])
    file.unlink()


def damage_gzip_inside(folder):
    file = folder / "train-images-idx3-ubyte"
    packed = bytearray(gzip.compress(file.read_bytes()))
    packed[1000:1004] = b"\xff\xff\xff\xff"
    (folder / f"{file.name}.gz").write_bytes(packed)
    file.unlink()


def damage_label(folder):
    write_idx(folder / "train-labels-idx1-ubyte", np.full(600, 10))


def damage_count(folder):
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(599) % 10)


def damage_shape(folder):
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((600, 20, 28)))


def damage_class(folder):
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(200) % 9)


def damage_label_shape(folder):
    write_idx(folder / "train-labels-idx1-ubyte", np.eye(10)[np.arange(600) % 10])


def damage_ink(folder):
    images = read_idx(folder, "t10k-images-idx3-ubyte").copy()
    images[[17, 30]] = 0
    write_idx(folder / "t10k-images-idx3-ubyte", images)


def damage_header(folder):
    """Write dimensions whose product exceeds 64 bits."""
    (folder / "train-images-idx3-ubyte").write_bytes(
        b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (2**31, 2**31, 4))
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_label_shape, r"the train labels have shape \(600, 10\), wanted one number each"),
        (damage_ink, r"2 of 200 t10k images have no ink, the first is number 17"),
        (damage_header, r"train-images.*header says \(2147483648, 2147483648, 4\), the file holds 0"),
        (damage_missing, "no t10k-labels"),
        (damage_truncated, "train-images.*header says"),
        (damage_magic, "not an IDX file"),
        (damage_gzip, "train-images.*damaged gzip"),
        (damage_gzip_inside, "train-images.*damaged gzip"),
        (damage_label, "a label is 10"),
        (damage_count, "600 train images but 599 labels"),
        (damage_shape, "28 × 28"),
        (damage_class, "no digit of class 9 for test"),
    ],
)
def test_bad_idx_is_refused_by_name(damage, message, idx_folder, tmp_path):
    folder = copied(idx_folder, tmp_path)
    damage(folder)
    with pytest.raises(DataProblemError, match=message) as error:
        load_digits(str(folder), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["nosuch", "/nosuch/folder"])
def test_unknown_sources_of_digits_are_usage_errors(source, tmp_path):
    with pytest.raises(UsageProblemError, match="mnist5k"):
        load_digits(source, tmp_path)
    with pytest.raises(UsageProblemError, match="builtin"):
        list_photos(source, tmp_path)
