"""Digits of any handwriting are accepted; meaningless images are refused unless `--any-digits` is given."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

import cli
from mnistref.common.errors import DataProblemError
from mnistref.generation.generate import Request, generate, plan, request_of
from mnistref.generation.online import open_online_generator
from mnistref.inspection.verify import verify
from mnistref.sources.digit_check import _likeness, check_digit_images, class_means
from mnistref.sources.digits import Digits, load_unchanged
from mnistref.sources.idx_files import read_idx
from mnistref.storage.manifest import read_manifest
from tests.bench.bench_command import bench
from tests.conftest import write_idx

SIZES = {"train": 3, "val": 1, "test": 1}


def few(digits: Digits, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return this number of digits of each class."""
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(digits.labels == cls))[:each] for cls in range(10)]
    order = np.concatenate(members)
    return digits.images[order], digits.labels[order]


def error_of(images: np.ndarray, labels: np.ndarray) -> str | None:
    """Return the error message for these digits as training and as test files of a folder, or None."""
    count = len(labels)
    splits = {"train": np.arange(count), "val": np.arange(0), "test": np.arange(count, 2 * count)}
    return check_digit_images(
        Digits("own", np.concatenate([images] * 2), np.concatenate([labels] * 2), splits, "folder")
    )


def each(images: np.ndarray, change) -> np.ndarray:
    return np.stack([np.clip(change(image.astype(float)), 0, 255).astype(np.uint8) for image in images])


def turned(degrees: float):
    return lambda image: ndimage.rotate(image, degrees, reshape=False, order=1)


def sized(scale: float):
    offset = 13.5 * (1 - 1 / scale)
    return lambda image: ndimage.affine_transform(image, np.eye(2) / scale, offset, order=1)


def noisy(images: np.ndarray, spread: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, spread, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


HONEST = {
    "as they are": lambda x: x,
    "turned by 15°": lambda x: each(x, turned(15)),
    "turned by -15°": lambda x: each(x, turned(-15)),
    "moved": lambda x: np.roll(x, (3, -3), (1, 2)),
    "small": lambda x: each(x, sized(0.6)),
    "large": lambda x: each(x, sized(1.25)),
    "bold": lambda x: each(x, lambda v: ndimage.grey_dilation(v, (3, 3))),
    "very bold": lambda x: each(x, lambda v: ndimage.grey_dilation(v, (5, 5))),
    "thin": lambda x: each(x, lambda v: ndimage.grey_erosion(v, (2, 2))),
    "blurred": lambda x: each(x, lambda v: ndimage.gaussian_filter(v, 1.2)),
    "black or white": lambda x: np.where(x > 127, 255, 0).astype(np.uint8),
    "grey": lambda x: x // 2,
    "noisy strokes": lambda x: np.where(x > 0, noisy(x, 20), x),
}


@pytest.mark.parametrize("how", HONEST)
@pytest.mark.parametrize("count", [12, 60])
def test_digits_of_any_handwriting_are_accepted(how, count, digits):
    images, labels = few(digits, count)
    assert error_of(HONEST[how](images), labels) is None


def test_small_digit_samples_are_accepted(digits):
    for seed in range(40):
        assert error_of(*few(digits, 8, seed)) is None
    for count in range(1, 8):  # too few for a decision
        assert error_of(*few(digits, count)) is None


def test_digits_of_scikit_learn_are_accepted():
    """The digits of scikit-learn have 8 × 8 pixels."""
    found = pytest.importorskip("sklearn.datasets").load_digits()
    images = [np.asarray(Image.fromarray((v * 15.9).astype(np.uint8)).resize((20, 20))) for v in found.images]
    images = np.pad(np.stack(images), ((0, 0), (4, 4), (4, 4)))
    assert error_of(images, found.target) is None
    assert error_of(images[:, ::-1], found.target) is not None


def printed(font: ImageFont.FreeTypeFont, characters: str = "0123456789", copies: int = 8) -> tuple[np.ndarray, ...]:
    images = []
    for character in characters:
        image = Image.new("L", (112, 112))
        left, top, right, bottom = font.getbbox(character)
        ImageDraw.Draw(image).text(((112 - left - right) / 2, (112 - top - bottom) / 2), character, font=font, fill=255)
        images += [np.asarray(image.reduce(4))] * copies
    return np.stack(images), np.arange(len(characters)).repeat(copies)


def fonts() -> list:
    """Return the fonts of Matplotlib that have digits."""
    folder = Path(pytest.importorskip("matplotlib").get_data_path()) / "fonts" / "ttf"
    without = ("Display", "STIXSiz", "STIXNonUni", "cmex", "cmsy", "cmmi", "LastResort")
    return [ImageFont.truetype(path, 88) for path in sorted(folder.glob("*.ttf")) if not path.name.startswith(without)]


def test_printed_digits_are_accepted_and_other_characters_are_not():
    read = [font for font in fonts() if "Display" not in str(font.path)]
    assert len(read) >= 20
    for font in [*read[::3], ImageFont.load_default(88)]:
        images, labels = printed(font)
        assert error_of(images, labels) is None, font.path
        for turn in (images[:, :, ::-1], images[:, ::-1], images.transpose(0, 2, 1), np.rot90(images, 1, (1, 2))):
            assert error_of(turn, labels) is not None, font.path
        assert "black on white" in error_of(255 - images, labels)
        for letters in ("ABCDEFGHIJ", "abcdefghij", "KLMNPQRSTU"):
            assert error_of(*printed(font, letters)) is not None, (font.path, letters)


MEANINGLESS = {
    "black on white": (
        lambda x, y: (255 - x, y),
        r"the digits are black on white \(8\d% is inked\), or noise; .*255 − value",
    ),
    "grey on white": (lambda x, y: (200 - x // 2, y), "black on white"),
    "noise": (lambda x, y: (noisy(x, 20), y), r"ground of the digits is not black: 5\d% .* values up to 5\d to 0"),
    "black on grey": (
        lambda x, y: (120 - x // 3, y),
        r"ground of the digits is 120, .*; save them white on black",
    ),
    "a ground that is not 0": (
        lambda x, y: (np.maximum(x, 9), y),
        "is 9, so that masks would be squares",
    ),
    "0 and 1": (
        lambda x, y: (x // 128, y),
        r"the values of the digits are 0 … 1 and must be 0 … 255; multiply them by 255",
    ),
    "0 to 15": (lambda x, y: (x // 16, y), "can hardly be seen, their brightest value is 15"),
    "transposed": (
        lambda x, y: (x.transpose(0, 2, 1), y),
        "training digits seem to be transposed, as EMNIST's are",
    ),
    "mirrored": (lambda x, y: (x[:, :, ::-1], y), "seem to be mirrored"),
    "upside down": (lambda x, y: (x[:, ::-1], y), "seem to be upside down"),
    "turned": (lambda x, y: (x[:, ::-1, ::-1], y), "seem to be turned by 180°"),
    "turned left": (lambda x, y: (np.rot90(x, 1, (1, 2)), y), "seem to be turned by 90° anticlockwise"),
    "turned right": (lambda x, y: (np.rot90(x, 3, (1, 2)), y), "seem to be turned by 90° clockwise"),
    "both": (lambda x, y: (np.rot90(x, 1, (1, 2))[:, ::-1], y), "seem to be transposed"),
    "one more": (
        lambda x, y: (x, (y + 1) % 10),
        r"the training digits \(9 are labelled 0, 0 are labelled 1",
    ),
    "one less": (lambda x, y: (x, (y - 1) % 10), "1 are labelled 0"),
    "two classes exchanged": (
        lambda x, y: (x, np.where(y == 6, 9, np.where(y == 9, 6, y))),
        r"\(9 are labelled 6, 6 are labelled 9\); give others",
    ),
    "reversed": (lambda x, y: (x, 9 - y), "do not fit"),
    "all the same": (lambda x, y: (x[:1].repeat(len(x), 0), y), r"all [\d,]+ images of the digits are the same"),
    "a grey square": (lambda x, y: (np.full_like(x, 90), y), "are the same"),
}


@pytest.mark.parametrize("what", MEANINGLESS)
@pytest.mark.parametrize("count", [12, 60])
def test_meaningless_digits_are_refused_with_the_reason(what, count, digits):
    change, message = MEANINGLESS[what]
    error = error_of(*change(*few(digits, count)))
    assert error is not None
    assert re.search(message, error), error


def test_shuffled_labels_and_pictures_of_other_things_are_refused(digits):
    images, labels = few(digits, 20)
    for seed in range(30):
        assert error_of(images, np.random.default_rng(seed).permutation(labels)) is not None
    rng = np.random.default_rng(0)
    window = np.exp(-((np.mgrid[:28, :28] - 13.5) ** 2).sum(0) / 90)
    for spread in (1, 2.5, 4):
        kinds = ndimage.gaussian_filter(rng.normal(size=(10, 28, 28)), (0, spread, spread)).repeat(20, 0)
        blobs = kinds / kinds.std() + ndimage.gaussian_filter(rng.normal(size=(200, 28, 28)), (0, spread, spread))
        assert error_of((blobs * window * 255).clip(0, 255).astype(np.uint8), labels) is not None


def test_class_means_constant_equals_means_of_mnist_digits(digits):
    likeness = _likeness(class_means(digits.images, digits.labels, None))
    assert likeness.diagonal().min() > 0.95
    assert likeness.trace() / 10 > 0.98
    off = likeness[~np.eye(10, dtype=bool)]
    assert off.max() < 0.6


def test_digit_check_covers_training_and_test_files(idx_folder, tmp_path):
    """Wrong labels of only the test file are found too."""
    shutil.copytree(idx_folder, tmp_path / "own")
    labels = read_idx(idx_folder, "t10k-labels-idx1-ubyte")
    write_idx(tmp_path / "own" / "t10k-labels-idx1-ubyte", (labels + 3) % 10)
    load_unchanged.cache_clear()
    with pytest.raises(DataProblemError, match="the labels do not fit the test digits"):
        plan(Request("mini", tmp_path, 0, SIZES, str(tmp_path / "own")))


@pytest.fixture
def inverted(idx_folder, tmp_path) -> Path:
    folder = tmp_path / "inverted"
    shutil.copytree(idx_folder, folder)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", 255 - read_idx(idx_folder, f"{part}-images-idx3-ubyte"))
    load_unchanged.cache_clear()
    return folder


def test_dry_run_and_training_refuse_failed_digits(inverted, tmp_path):
    command = ["--variant", "mini", "--root", tmp_path / "root", "--digits", inverted]
    for more in ([], ["--dry-run"]):
        done = CliRunner().invoke(cli.mnistref, [*map(str, ["generate", *command, *more])])
        assert done.exit_code == 3
        assert "inverted: the digits are black on white (87% is inked)" in done.stderr
        assert "`mnistref generate … --any-digits` accepts them (to train on them, give the data set" in done.stderr
    code, _, error = bench("run", "--attn", "none", *command)
    assert (code, "--any-digits" in error) == (3, True), error
    assert not (tmp_path / "root" / "datasets").exists()


def test_any_digits_accepts_failed_digits_and_records_it(inverted, tmp_path):
    request = Request("mini", tmp_path / "root", 0, SIZES, str(inverted), any_digits=True)
    folder = generate(request)
    manifest = read_manifest(folder)
    assert manifest.spec["any_digits"] is True
    assert manifest.folder_name == folder.name
    assert verify(folder) == []
    assert request_of(manifest)["any_digits"] is True
    again = Request(**{**request_of(manifest), "root": tmp_path, "digits": str(inverted)})
    assert plan(again).spec == plan(request).spec
    card = (folder / "README.md").read_text()
    assert "--digits <inverted> --any-digits\n" in card
    assert "The digit check failed; the digits were accepted with `--any-digits`." in card
    assert open_online_generator(folder, tmp_path / "root" / "raw", str(inverted)).images == 3


def test_unneeded_any_digits_leaves_no_record(idx_folder, tmp_path):
    request = Request("mini", tmp_path, 0, SIZES, str(idx_folder))
    usual = plan(request)
    assert plan(replace(request, any_digits=True)).spec == usual.spec
    assert "any_digits" not in usual.spec.as_dict()


def test_known_digits_are_not_checked(monkeypatch, tmp_path, digits):
    monkeypatch.setattr("mnistref.generation.plan.check_digit_images", lambda digits: "something")
    assert plan(Request("mini", tmp_path, 0, SIZES, "mnist5k")).digits.sha256 == digits.sha256
