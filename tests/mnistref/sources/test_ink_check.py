"""Ink that cannot come from digits is an error, in all digits, in one file, and in single images."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mnistref.common.errors import DataProblemError
from mnistref.generation.generate import Request, plan
from mnistref.sources.idx_files import read_idx
from mnistref.sources.ink_check import check_ink, count_ink, stray_ink
from tests.conftest import write_idx
from tests.mnistref.sources.test_digit_check import HONEST, each, few, fonts, noisy, printed, sized

SIZES = {"train": 3, "val": 1, "test": 1}


@pytest.fixture(scope="module")
def images(digits) -> np.ndarray:
    return few(digits, 40)[0]


def error_of(train: np.ndarray, test: np.ndarray) -> str | None:
    pools = {"training digits": np.arange(len(train)), "test digits": len(train) + np.arange(len(test))}
    return check_ink(np.concatenate([train, test]), pools)


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    files = []
    for image in images:
        Image.fromarray(image).save(file := io.BytesIO(), "JPEG", quality=quality)
        files.append(np.asarray(Image.open(file)))
    return np.stack(files)


def faint_noise(images: np.ndarray, most: int = 2) -> np.ndarray:
    return np.maximum(images, np.random.default_rng(0).integers(0, most + 1, images.shape, dtype=np.uint8))


def filled(images: np.ndarray) -> np.ndarray:
    """Return the digits scaled to the whole image."""
    return np.stack([np.asarray(Image.fromarray(image[4:24, 4:24]).resize((28, 28))) for image in images])


GROUNDS = {
    "as after lossy saving": faint_noise,
    "JPEG 95": lambda x: jpeg(x, 95),
    "JPEG 50": lambda x: jpeg(x, 50),
    "dark noise": lambda x: noisy(x, 1),
    "bright noise": lambda x: noisy(x, 40),
    "on a third of the ground": lambda x: np.where(np.random.default_rng(0).random(x.shape) < 0.3, np.maximum(x, 3), x),
}
ALL_INK = {
    "inverted": lambda x: 255 - x,
    "black or white, inverted": lambda x: np.where(x > 127, 0, 255).astype(np.uint8),
    "white": lambda x: np.full_like(x, 255),
    "nearly white": lambda x: np.maximum(x, np.random.default_rng(0).integers(0, 255, x.shape, dtype=np.uint8) | 128),
}


def test_full_size_and_blurred_digits_are_accepted(images):
    changes = [*HONEST.values(), filled, lambda x: filled(HONEST["bold"](x)), lambda x: each(x, sized(1.4))]
    honest = [change(images[::2]) for change in changes]
    for changed in honest:
        assert error_of(changed, images) is None
    shares = [count_ink(changed) for changed in honest]
    assert max(s.ink.mean() for s in shares) > 0.6
    assert max(s.stray.mean() for s in shares) < 0.02
    assert max(s.border.mean() for s in shares) < 0.35
    assert max(s.specks.mean() for s in shares) < 0.005


def test_whole_mnist5k_and_fonts_are_far_from_every_limit(digits):
    printed_ones = np.concatenate([printed(font)[0][::8] for font in fonts() if font.getname()[0] != "cmr10"])
    for images in (digits.images, printed_ones[printed_ones.any(axis=(1, 2))]):
        counted = count_ink(images)
        assert counted.ink.mean() < 0.2
        assert counted.ink.max() < 0.5
        assert counted.stray.max() < 0.02
        assert counted.border.max() < 0.1
        assert counted.specks.mean() < 0.002


@pytest.mark.parametrize("kind", GROUNDS)
def test_background_counted_as_ink_is_refused(kind, images):
    odd = GROUNDS[kind](images)
    for train, test, name in ((odd, odd, "digits"), (odd, images, "training digits"), (images, odd, "test digits")):
        found = error_of(train, test)
        assert f"the ground of the {name} is not black: " in found
        assert "% of their pixels are above 0, which masks count as ink; " in found
    if level := re.search(r"set values up to (\d+) to 0$", found):
        assert error_of(images, np.where(odd > int(level[1]), odd, 0)) is None
    else:
        assert kind == "bright noise"


@pytest.mark.parametrize("density", [0.01, 0.05, 0.2])
def test_salt_noise_is_refused(density, images):
    salted = np.where(np.random.default_rng(0).random(images.shape) < density, 255, images).astype(np.uint8)
    for train, test, name in ((salted, salted, "digits"), (salted, images, "training digits")):
        assert re.search(rf"the {name} are speckled: \d+% of their ink is in single pixels", error_of(train, test))


def test_pure_noise_is_not_only_called_black_on_white(images):
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    noise[:, :, 14:] |= 128
    assert "are black on white (75% is inked), or noise" in error_of(noise, noise)


@pytest.mark.parametrize("ground", [1, 30])
def test_inked_background_of_one_file_is_found_and_named(ground, images):
    found = error_of(images, np.maximum(images, np.uint8(ground)))
    assert f"the ground of the test digits is {ground}, so that masks would be squares" in found
    rough = np.random.default_rng(0).integers(1, 4, images.shape, dtype=np.uint8)
    assert "the ground of the test digits is 2, so" in error_of(images, np.maximum(images, rough))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 255 - x, r"the test digits are black on white"),
        (lambda x: x // 50, r"the test digits can hardly be seen, their brightest value is 5"),
        (lambda x: x // 128, r"the values of the test digits are 0 … 1"),
        (lambda x: x[:1].repeat(len(x), 0), r"all 400 images of the test digits are the same"),
    ],
)
def test_every_check_looks_at_each_file(change, message, images):
    assert re.search(message, error_of(images, change(images)))
    assert re.search(message.replace("the test", "the training"), error_of(change(images), images))


@pytest.mark.parametrize("kind", ALL_INK)
@pytest.mark.parametrize("step", [2, 10, 200])
def test_single_images_that_are_all_ink_are_counted(kind, step, images):
    some = images.copy()
    some[7::step] = ALL_INK[kind](images)[7::step]
    count = len(some[7::step])
    found = error_of(some, images)
    assert f"{count} of 400 training digits, the first is number 7 (from 0), are nearly all ink" in found
    assert "save them white on black (255 − value), or remove them" in found
    assert f"{count} of 400 test digits" in error_of(images, some)


def test_single_images_with_inked_background_and_faint_ones_are_counted(images):
    some = images.copy()
    some[::20] = np.maximum(images, 9)[::20]
    assert "20 of 400 test digits, the first is number 0 (from 0), have ink all over their square" in error_of(
        images, some
    )
    some = images.copy()
    some[3::40] //= 16
    assert "10 of 400 training digits, the first is number 3 (from 0), can hardly be seen" in error_of(some, images)


def test_ink_check_tolerates_one_odd_image_per_thousand(digits):
    images = digits.images[:2000].copy()
    images[[5, 900]] = 255
    assert error_of(images, digits.images) is None
    images[6] = 255
    assert "3 of 2,000 training digits, the first is number 5 (from 0)" in error_of(images, digits.images)


def test_stray_ink_is_ink_more_than_three_pixels_from_a_stroke():
    images = np.ones((1, 28, 28), np.uint8)
    images[0, 10:15, 12] = 200
    stray = stray_ink(images)
    assert not stray[0, 7:18, 9:16].any()
    assert stray.sum() == 784 - 11 * 7


def test_any_digits_accepts_failed_ink_and_records_it(idx_folder, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(idx_folder, folder)
    images = read_idx(idx_folder, "train-images-idx3-ubyte").copy()
    images[::2] = 255 - images[::2]
    write_idx(folder / "train-images-idx3-ubyte", images)
    with pytest.raises(DataProblemError, match=r"own: 300 of 600 training digits, .*; `mnistref generate … --any-dig"):
        plan(Request("mini", tmp_path, 0, SIZES, str(folder)))
    spec = plan(Request("mini", tmp_path, 0, SIZES, str(folder), any_digits=True)).spec
    assert spec.as_dict()["any_digits"] is True
