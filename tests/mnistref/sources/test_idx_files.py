"""Digit files as users have them: packed in any form, with misleading names, in subfolders."""

import bz2
import gzip
import io
import logging
import lzma
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnistref.common.errors import DataProblemError
from mnistref.sources import digits as digit_source
from mnistref.sources.digit_copies import unshared_images
from mnistref.sources.digits import load_digits, load_unchanged
from mnistref.sources.idx_files import FILES, is_complete, read_idx

LABELS = (np.arange(60) % 10).astype(np.uint8)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
OTHERS = 255 - IMAGES  # no picture is in two splits
ARRAYS = dict(zip(FILES, (IMAGES, LABELS, OTHERS, LABELS), strict=True))


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_unchanged.cache_clear()
    yield
    load_unchanged.cache_clear()


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(name: str, data: bytes, *more: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, data)
        for other in more:
            archive.writestr(other, "something else")
    return packed.getvalue()


def tarred(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("train-images-idx3-ubyte")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


WRAPPED = {
    "plain": lambda name, data: (name, data),
    "gzipped": lambda name, data: (f"{name}.gz", gzip.compress(data)),
    "gzip without .gz": lambda name, data: (name, gzip.compress(data)),
    "unpacked, named .gz": lambda name, data: (f"{name}.gz", data),
    "upper case": lambda name, data: (f"{name}.GZ".upper(), gzip.compress(data)),
    "gzip in gzip": lambda name, data: (f"{name}.gz", gzip.compress(gzip.compress(data))),
    "gzip in gzip, both named": lambda name, data: (f"{name}.gz.gz", gzip.compress(gzip.compress(data))),
    "a dot for the hyphen": lambda name, data: (dotted(name), data),
    "a dot, gzipped": lambda name, data: (f"{dotted(name)}.gz", gzip.compress(data)),
    "underscores": lambda name, data: (name.replace("-", "_"), data),
    "test for t10k": lambda name, data: (name.replace("t10k", "test"), data),
    "a second download": lambda name, data: (f"{name} (1).gz", gzip.compress(data)),
    "in a folder of its name": lambda name, data: (f"{name}/{name}", data),
    "in a folder, dotted": lambda name, data: (f"{name}/{dotted(name)}", data),
    "in a folder named .gz": lambda name, data: (f"{name}.gz/{name}", data),
    "as torchvision keeps it": lambda name, data: (f"MNIST/raw/{name}", data),
    "as torchvision fetches it": lambda name, data: (f"MNIST/raw/{name}.gz", gzip.compress(data)),
    "in raw": lambda name, data: (f"raw/{name}", data),
    "in mnist/RAW": lambda name, data: (f"mnist/RAW/{dotted(name)}", data),
    "bzip2": lambda name, data: (f"{name}.bz2", bz2.compress(data)),
    "xz": lambda name, data: (f"{name}.xz", lzma.compress(data)),
    "zip": lambda name, data: (f"{name}.zip", zipped(name, data)),
    "zip with other files": lambda name, data: (f"{name}.zip", zipped(dotted(name), data, "README.md", "LICENSE")),
    "zip named .gz": lambda name, data: (f"{name}.gz", zipped(f"a/{name}", data, "__MACOSX/._x")),
}


def write(folder: Path, wrap, arrays=ARRAYS, kind: int = 8) -> Path:
    for file, array in arrays.items():
        name, data = wrap(file, idx(array, kind))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("form", WRAPPED)
def test_every_packing_of_idx_files_is_the_same_source(form, tmp_path):
    found = load_digits(str(write(tmp_path / "own", WRAPPED[form])), tmp_path)
    assert found.name == "own"
    np.testing.assert_array_equal(found.images, np.concatenate([IMAGES, OTHERS]))
    np.testing.assert_array_equal(found.labels, np.concatenate([LABELS, LABELS]))


@pytest.mark.parametrize("form", WRAPPED)
def test_mnist_checksums_apply_to_the_unpacked_files(form, tmp_path, monkeypatch):
    """Files for `mnist` may exist in any of these forms, except in subfolders."""
    import hashlib

    own = {file: hashlib.sha256(idx(array)).hexdigest() for file, array in ARRAYS.items()}
    monkeypatch.setattr(digit_source, "MNIST_SHA256", own)
    kept = tmp_path / "MNIST" / "raw"
    write(kept, WRAPPED[form])
    if "raw" in form or "torchvision" in form or "RAW" in form:
        assert not is_complete(kept)
        return
    assert is_complete(kept)
    assert len(load_digits("mnist", tmp_path).labels) == 120
    load_unchanged.cache_clear()
    write(kept, WRAPPED[form], {FILES[0]: OTHERS})
    with pytest.raises(DataProblemError, match=r"not the original file \(its SHA-256 differs\); delete it"):
        load_digits("mnist", tmp_path)


def test_a_plain_file_is_preferred_and_hidden_ones_are_none(tmp_path):
    write(tmp_path, WRAPPED["plain"])
    write(tmp_path, lambda name, data: (f"{name}.gz", b"another"))
    write(tmp_path, lambda name, data: (f"._{name}", b"of a Mac"))
    assert len(load_digits(str(tmp_path), tmp_path).labels) == 120


@pytest.mark.parametrize(
    ("kind", "dtype"), [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_idx_numbers_of_every_type_are_read_if_they_fit(kind, dtype, tmp_path):
    top = 127 if kind == 0x09 else 255
    arrays = {file: np.minimum(array, top).astype(dtype) for file, array in ARRAYS.items()}
    found = load_digits(str(write(tmp_path, WRAPPED["plain"], arrays, kind)), tmp_path)
    assert found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images[:60], np.minimum(IMAGES, top))
    assert found.sha256 == digit_source.digest(found.images, np.concatenate([LABELS, LABELS]))


@pytest.mark.parametrize("shape", [(60, 784), (60, 28, 28, 1), (60, 1, 28, 28)])
@pytest.mark.parametrize("column", [(60, 1), (1, 60), (60,)])
def test_unambiguous_idx_shapes_are_read(shape, column, tmp_path):
    arrays = {file: array.reshape(shape if "images" in file else column) for file, array in ARRAYS.items()}
    found = load_digits(str(write(tmp_path, WRAPPED["plain"], arrays)), tmp_path)
    np.testing.assert_array_equal(found.images[60:], OTHERS)
    np.testing.assert_array_equal(found.labels[60:], LABELS)


@pytest.mark.parametrize("shape", [(60, 28, 14, 2), (30, 2, 28, 28), (120, 392)])
def test_ambiguous_idx_shapes_are_refused(shape, tmp_path):
    arrays = ARRAYS | {FILES[0]: IMAGES.reshape(shape)}
    with pytest.raises(DataProblemError, match=r"the train images are \(.*\), wanted 28 × 28"):
        load_digits(str(write(tmp_path, WRAPPED["plain"], arrays)), tmp_path)


FLOATS = {
    "0 … 1": ((IMAGES / 255).astype(">f4"), r"the values are 0 … 1 and must be 0 … 255; multiply them by 255"),
    "with fractions": ((IMAGES / 2).astype(">f4"), "must be whole numbers from 0 to 255"),
    "negative": ((IMAGES - 1.0).astype(">f4"), "the values are -1 … 254 and must be whole numbers from 0 to 255"),
    "not finite": (np.where(IMAGES > 9, IMAGES, np.nan).astype(">f4"), "must be whole numbers from 0 to 255"),
    "large": ((IMAGES * 2.0).astype(">f4"), "must be whole numbers from 0 to 255"),
}


@pytest.mark.parametrize("what", FLOATS)
def test_idx_values_outside_bytes_are_refused(what, tmp_path):
    array, message = FLOATS[what]
    write(tmp_path, WRAPPED["plain"])
    (tmp_path / FILES[0]).write_bytes(idx(array, 0x0D))
    with pytest.raises(DataProblemError, match=f"train-images.*{message}"):
        load_digits(str(tmp_path), tmp_path)


def packed(times: int) -> bytes:
    data = idx(IMAGES)
    for _ in range(times):
        data = gzip.compress(data, 1)
    return data


OTHER = {
    "a tar": (tarred(idx(IMAGES)), "a tar archive; unpack it"),
    "a tar.gz": (gzip.compress(tarred(idx(IMAGES))), "a tar archive; unpack it"),
    "a zip of several": (zipped("a.bin", b"1", "b.bin"), "a zip archive of 2 files; unpack it"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(40), "a Zstandard file; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7-Zip archive; unpack it"),
    "rar": (b"Rar!\x1a\x07\x00" + bytes(40), "a RAR archive; unpack it"),
    "compress": (b"\x1f\x9d\x90" + bytes(40), "a file packed by compress; unpack it"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(40), "a NumPy array; save it as IDX"),
    "a page": (b"\n<!DOCTYPE html><html>not found</html>", "a web page; fetch the file itself"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "text": (b"label,1x1,1x2\n5,0,0\n", "something that begins with b'label,1x1,1x'; give another --digits"),
    "little-endian": (struct.pack("<4I", 0x803, 60, 28, 28) + IMAGES.tobytes(), "something that begins with"),
    "much packed": (packed(9), "packed more than 8 times; unpack it"),
}


@pytest.mark.parametrize("what", OTHER)
def test_error_describes_a_file_that_is_no_idx_file(what, tmp_path):
    data, message = OTHER[what]
    write(tmp_path, WRAPPED["plain"])
    (tmp_path / FILES[0]).write_bytes(data)
    with pytest.raises(DataProblemError) as error:
        load_digits(str(tmp_path), tmp_path)
    assert message in str(error.value)
    assert "fetch it again" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped("a", data)])
def test_truncated_archive_error_advises_to_fetch_again(pack, tmp_path):
    write(tmp_path, WRAPPED["plain"])
    whole = pack(idx(IMAGES))
    for data in (whole[:-9], whole[: len(whole) // 2], idx(IMAGES)[:-1], idx(IMAGES)[:5], b""):
        (tmp_path / FILES[0]).write_bytes(data)
        with pytest.raises(DataProblemError, match=r"train-images.*; fetch it again$"):
            load_digits(str(tmp_path), tmp_path)


def test_encrypted_archive_is_reported_as_unreadable(tmp_path):
    data = bytearray(zipped("a", idx(IMAGES)))
    for at in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1  # the encryption flag
    write(tmp_path, WRAPPED["plain"])
    (tmp_path / FILES[0]).write_bytes(bytes(data))
    with pytest.raises(DataProblemError, match=r"a zip archive that cannot be read .*encrypted.*; unpack it"):
        load_digits(str(tmp_path), tmp_path)


def test_error_without_idx_files_lists_the_files_that_exist(tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"PK")
    (tmp_path / "fashion").mkdir()
    message = r"no train-images-idx3-ubyte, plain or packed; .*; this one has archive\.zip \(unpack it\), fashion/$"
    with pytest.raises(DataProblemError, match=message):
        load_digits(str(tmp_path), tmp_path)
    for k in range(9):
        (tmp_path / f"{k}.csv").touch()
    with pytest.raises(DataProblemError, match=r"this one has 0\.csv, .*, 7\.csv … \(11\)$"):
        load_digits(str(tmp_path), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataProblemError, match=r"this one is empty$"):
        load_digits(str(tmp_path / "empty"), tmp_path)


MAGICS = [b"", b"\0\0\x08\x03", b"\0\0\x0c\x01", b"\x1f\x8b\x08", b"PK\x03\x04", b"BZh9"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=60))
def test_any_idx_content_is_read_or_is_a_one_line_error(tmp_path_factory, magic, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / FILES[0]).write_bytes(magic + content)
    message = ""
    try:
        assert read_idx(folder, FILES[0]).dtype == np.uint8
    except DataProblemError as error:
        message = str(error)
    assert not message or message.startswith(str(folder / FILES[0]))
    assert "\n" not in message


def exchanged(folder: Path, part: str, both: bool) -> None:
    images, labels = (folder / f"{part}-{what}-ubyte" for what in ("images-idx3", "labels-idx1"))
    data = labels.read_bytes(), images.read_bytes()
    images.write_bytes(data[0])
    if both:
        labels.write_bytes(data[1])


@pytest.mark.parametrize("both", [True, False])
def test_exchanged_label_and_image_files_are_named(both, idx_folder, tmp_path):
    folder = Path(shutil.copytree(idx_folder, tmp_path / "digits"))
    exchanged(folder, "t10k", both)
    with pytest.raises(DataProblemError, match="the file of the t10k images holds labels") as error:
        load_digits(str(folder), tmp_path)
    assert ("exchange their names" in str(error.value)) == both


def repeated(folder: Path, sources: np.ndarray, target: str) -> None:
    """Replace the first images of a file of a folder."""
    path = folder / f"{target}-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[16 : 16 + sources.size] = sources.tobytes()
    path.write_bytes(bytes(data))


def test_no_digit_image_is_in_two_splits(idx_folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    before = load_digits(str(idx_folder), tmp_path)
    assert "left out" not in caplog.text
    folder = Path(shutil.copytree(idx_folder, tmp_path / "some"))
    repeated(folder, before.images[[1, 2, 2, 599, 599]], "t10k")  # 0 … 499 are in train, 500 … 599 in val
    digits = load_digits(str(folder), tmp_path)
    assert {split: len(members) for split, members in digits.splits.items()} == {"train": 498, "val": 99, "test": 200}
    np.testing.assert_array_equal(digits.images[:2], before.images[[0, 3]])
    np.testing.assert_array_equal(digits.labels[:2], before.labels[[0, 3]])
    pictures = [{image.tobytes() for image in digits.images[members]} for members in digits.splits.values()]
    assert not pictures[0] & pictures[1]
    assert not (pictures[0] | pictures[1]) & pictures[2]
    assert "some: left out: 3 of 800 digits are the same pictures as others of a later split" in caplog.text


def test_same_file_for_training_and_test_is_reported(idx_folder, tmp_path, caplog):
    folder = Path(shutil.copytree(idx_folder, tmp_path / "same"))
    for what in ("images-idx3", "labels-idx1"):
        shutil.copy(folder / f"train-{what}-ubyte", folder / f"t10k-{what}-ubyte")
    digits = load_digits(str(folder), tmp_path)
    assert {split: len(members) for split, members in digits.splits.items()} == {"train": 500, "val": 100, "test": 600}
    assert "600 of 1,200 digits are the same pictures as others of a later split" in caplog.text
    assert "they are kept" in caplog.text


def test_known_digit_splits_share_no_picture(digits):
    assert unshared_images(digits.images, digits.splits).all()
