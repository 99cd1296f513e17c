"""A picture at several sizes, formats and qualities counts as one photo, and different pictures never do."""

import io
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from cli import mnistref
from mnistref.common.errors import DataProblemError
from mnistref.generation.generate import Request, plan
from mnistref.sources import photo_checks
from mnistref.sources.copies import SIDE, THUMBNAIL, make_thumbnail, smaller_copies
from mnistref.sources.decode import opened_draft, read_photo
from mnistref.sources.photos import list_photos


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return a random picture with structure at every scale, as in photographs."""
    rng = np.random.default_rng(seed)
    mixed = np.zeros((size[1], size[0], 3))
    for side in (2, 4, 8, 16, 32):
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        mixed += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), float) / side**0.5
    low, high = mixed.min(), mixed.max()
    return Image.fromarray(((mixed - low) / (high - low) * 255).astype(np.uint8))


def saved(image: Image.Image, form: str = "PNG", **options) -> Image.Image:
    """Return the image after it is saved and loaded."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, short: int, resample=Image.Resampling.LANCZOS) -> Image.Image:
    scale = short / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), resample)


def copies_among(*images: Image.Image) -> list[int]:
    """Return the images that are found to be smaller copies; the digests are in the order of the images."""
    thumbnails = [make_thumbnail(image, image.size, f"{k:064x}") for k, image in enumerate(images)]
    return smaller_copies(np.array(thumbnails, THUMBNAIL))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[Image.Image]:
    """Return the builtin photographs, 300 pixels high or wide."""
    paths = list_photos("builtin", tmp_path_factory.mktemp("raw")).paths
    return [scaled(read_photo(path), 300) for path in paths]


FORMS = {
    "png": ("PNG", {}),
    "jpeg": ("JPEG", {"quality": 75}),
    "poor jpeg": ("JPEG", {"quality": 60}),
    "webp": ("WEBP", {"quality": 75}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("short", [48, 64, 100, 200, None])
def test_a_copy_at_another_size_format_or_quality_is_found(form, short, photographs):
    kind, options = FORMS[form]
    small = [saved(scaled(photo, short) if short else photo, kind, **options) for photo in photographs]
    found = copies_among(*photographs, *small)
    if short:
        assert found == list(range(10, 20))
    else:  # with equal numbers of pixels, the lower digest is the original
        assert found == list(range(10, 20))
        assert copies_among(*small, *photographs) == list(range(10, 20))


@pytest.mark.parametrize("resample", [0, 1, 2, 3, 4, 5])
def test_copies_scaled_with_any_filter_are_found(resample, photographs):
    if resample == Image.Resampling.NEAREST:
        small = [scaled(photo, 200, resample) for photo in photographs]  # a smaller size would show another picture
    else:
        small = [scaled(photo, 32, resample) for photo in photographs]
    assert copies_among(*photographs, *small) == list(range(10, 20))


def cropped(photo: Image.Image) -> Image.Image:
    return photo.crop((photo.width // 20, photo.height // 20, photo.width, photo.height))


def tinted(photo: Image.Image) -> Image.Image:
    return Image.merge("RGB", [photo.getchannel(0).point(lambda v: min(255, v + 30)), *photo.split()[1:]])


def brighter(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(1.15)


def mirrored(photo: Image.Image) -> Image.Image:
    return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def shifted(photo: Image.Image) -> Image.Image:
    """Return the photo shifted slightly, as in a series taken by hand."""
    return ImageChops.offset(photo, photo.width // 25, photo.height // 25)


def with_someone_in_it(photo: Image.Image) -> Image.Image:
    other, tone = photo.copy(), photo.resize((1, 1)).getpixel((0, 0))
    box = [photo.width * 0.4, photo.height * 0.4, photo.width * 0.52, photo.height * 0.62]
    ImageDraw.Draw(other).rectangle(box, fill=tuple(0 if v > 127 else 255 for v in tone))
    return other


def stretched(photo: Image.Image) -> Image.Image:
    return photo.resize((photo.width, photo.height * 9 // 10))


CHANGES = [cropped, tinted, brighter, mirrored, shifted, with_someone_in_it, stretched]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_picture_of_the_same_scene_is_no_copy(change, photographs):
    changed = [change(photo) for photo in photographs]
    assert copies_among(*photographs, *(scaled(photo, 150) for photo in changed)) == []
    assert copies_among(*photographs, *changed) == []


def test_different_pictures_are_no_copies(photographs):
    assert copies_among(*photographs, *(scaled(photo, 120) for photo in [scene(k) for k in range(150)])) == []


def test_pictures_without_structure_are_not_compared():
    plain = [Image.new("RGB", (40, 30), (90, 90, 90 + k)) for k in range(3)]
    ramp = Image.fromarray(np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)).convert("RGB")
    noise = np.random.default_rng(0).integers(0, 3, (3, 60, 80, 3), dtype=np.uint8) + 100
    assert copies_among(*plain, ramp, scaled(ramp, 20), *map(Image.fromarray, noise)) == []


def test_common_frame_makes_no_copies():
    """Content that all pictures of a collection share does not make them copies."""
    framed = []
    for k in range(40):
        photo = Image.new("RGB", (200, 150), "white")
        dark = np.asarray(scene(k, (160, 110))) // 8
        photo.paste(Image.fromarray(dark.astype(np.uint8)), (20, 20))
        framed.append(photo)
    assert copies_among(*framed) == []


def test_largest_of_several_copies_is_kept():
    photo = scene(1)
    sizes = [100, 240, 64, 150]
    assert copies_among(*(scaled(photo, short) for short in sizes)) == [0, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(64, 240), st.integers(40, 95), st.integers(150, 700), st.integers(150, 500))
def test_scaled_copy_of_any_scene_is_found(seed, short, quality, width, height):
    photo = scene(seed, (width, height))
    short = min(short, width, height)
    small = saved(scaled(photo, short), "JPEG", quality=quality)
    expected = [] if small.size == photo.size and short < 64 else [1]
    assert copies_among(photo, small, scene(seed + 1, (width, height))) == expected


def test_copies_among_many_thousands_are_found_and_no_others():
    rng = np.random.default_rng(0)
    thumbnails = np.zeros(6_000, THUMBNAIL)
    thumbnails["sha256"] = rng.integers(0, 256, (6_000, 32))
    thumbnails["size"] = (400, 300)
    small = rng.integers(0, 256, (6_000, SIDE // 2, SIDE // 2), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(s).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for s in small]
    thumbnails["luma"] = np.stack(smooth) // 2 + 64
    out = np.sort(rng.choice(np.arange(3_000, 6_000), 50, replace=False))
    thumbnails["luma"][out] = thumbnails["luma"][out - 3_000] + rng.integers(0, 3, (50, SIDE, SIDE), dtype=np.uint8)
    thumbnails["size"][out] = (120, 90)
    assert smaller_copies(thumbnails) == out.tolist()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder of six scenes and copies of two of them."""
    folder = tmp_path / "photos"
    (folder / "thumbnails").mkdir(parents=True)
    for k in range(6):
        scene(k).save(folder / f"{k}.jpg", quality=90)
    scaled(scene(1), 60).save(folder / "thumbnails" / "1.png")
    scene(4).save(folder / "4-small.jpg", quality=40)
    return folder


SAID = "left out: 2 smaller or recompressed copies of other photos ("


def request(root: Path, folder: Path, idx_folder: Path, **more) -> Request:
    return Request("mbg", root, 0, {"train": 3, "val": 1, "test": 1}, str(idx_folder), str(folder), **more)


def test_no_photo_is_in_two_splits(folder, idx_folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    made = plan(request(tmp_path, folder, idx_folder))
    assert len(made.photos.paths) == 6
    assert sum(SAID in line for line in caplog.messages) == 1
    assert "photos: 6 used; " in caplog.text
    assert "thumbnails/1.png" in caplog.text
    caplog.clear()
    for changes in ({"pool": "pooled"}, {"keep_copies": True}):
        assert len(plan(request(tmp_path, folder, idx_folder, **changes)).photos.paths) == 8
    assert caplog.messages == []
    for name in made.photos.names:
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, tmp_path / "few" / name)
    assert plan(request(tmp_path, tmp_path / "few", idx_folder)).spec == made.spec


def test_dry_run_and_generation_name_the_same_data_set(folder, idx_folder, tmp_path):
    sizes = ["--train", "3", "--val", "1", "--test", "1", "--digits", str(idx_folder)]
    command = ["generate", "--variant", "mbg", "--root", str(tmp_path / "root"), "--backgrounds", str(folder), *sizes]
    dry, made = (CliRunner().invoke(mnistref, [*command, *more]) for more in (["--dry-run"], []))
    assert dry.exit_code == made.exit_code == 0, made.stderr
    assert dry.stdout == made.stdout
    assert all(done.stderr.count(SAID) == 1 for done in (dry, made))
    kept = CliRunner().invoke(mnistref, [*command, "--keep-copies", "--dry-run"])
    assert kept.stdout != dry.stdout


def test_photo_fingerprint_is_computed_once(folder, tmp_path, monkeypatch):
    scaled_files, checked_files = [], []
    thumbnail, judge = photo_checks._thumbnail, photo_checks._is_bad
    monkeypatch.setattr(
        photo_checks, "_thumbnail", lambda path, *more: scaled_files.append(path.name) or thumbnail(path, *more)
    )
    monkeypatch.setattr(
        photo_checks, "_is_bad", lambda path, *more: checked_files.append(path.name) or judge(path, *more)
    )
    expected = list_photos(str(folder), tmp_path, skip_copies=True)
    assert len(scaled_files) == 8
    assert list_photos(str(folder), tmp_path, skip_copies=True) == expected
    assert (len(scaled_files), len(checked_files)) == (8, 0)
    (folder / "bad.jpg").write_bytes((folder / "0.jpg").read_bytes()[:-500])
    assert list_photos(str(folder), tmp_path, skip_bad=True, skip_copies=True) == expected
    assert (len(scaled_files), len(checked_files)) == (8, 9)  # bad files have no fingerprint
    list_photos(str(folder), tmp_path, skip_bad=True, skip_copies=True)
    assert (len(scaled_files), len(checked_files)) == (8, 9)
    for damage in (b"no zip", (tmp_path / "looks.npz").read_bytes()[:-40]):
        (tmp_path / "looks.npz").write_bytes(damage)
        assert list_photos(str(folder), tmp_path, skip_bad=True, skip_copies=True) == expected
    assert (len(scaled_files), len(checked_files)) == (24, 9)


def test_undecodable_photo_is_reported_when_photos_are_listed(folder, tmp_path):
    (folder / "bad.jpg").write_bytes((folder / "0.jpg").read_bytes()[:-500])
    with pytest.raises(DataProblemError, match=r"bad\.jpg: cannot be read as an image \(.*\); repair or remove it"):
        list_photos(str(folder), tmp_path, skip_copies=True)
    assert len(list_photos(str(folder), tmp_path, skip_bad=True, skip_copies=True).paths) == 6


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_rotated_copies_are_compared_upright(turn, tmp_path):
    photo, exif = scene(3, (1600, 1200)), Image.Exif()
    exif[0x0112] = turn
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    (tmp_path / "photos").mkdir()
    photo.transpose(back).save(tmp_path / "photos" / "turned.jpg", exif=exif, quality=90)
    with opened_draft(tmp_path / "photos" / "turned.jpg", photo_checks.BoundedThreadPool()) as (draft, size):
        assert size == (1600, 1200)
        assert draft.size == (400, 300)
    scaled(photo, 100).save(tmp_path / "photos" / "small.png")
    assert list_photos(str(tmp_path / "photos"), tmp_path, skip_copies=True).names == ("turned.jpg",)


def test_draft_decoding_needs_only_the_memory_of_the_decoded_size(tmp_path):
    """A baseline JPEG needs less than a tenth of the full memory; a progressive one keeps all coefficients."""
    for progressive, least, most in ((False, 0.4e6, 4e6), (True, 40e6, 60e6)):
        Image.new("RGB", (3200, 2400)).save(tmp_path / "a.jpg", progressive=progressive)
        pool = photo_checks.BoundedThreadPool()
        with opened_draft(tmp_path / "a.jpg", pool):
            assert least < pool.memory - pool._left < most
        assert pool._left == pool.memory
