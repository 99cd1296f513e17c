"""Decoding of photo files of every kind, refused files, and files that `--skip-bad` excludes."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistref.common import rgb_pixels
from mnistref.common.errors import DataProblemError
from mnistref.generation.generate import Request, generate
from mnistref.sources import photo_checks
from mnistref.sources.decode import read_photo
from mnistref.sources.photos import list_photos
from mnistref.storage.manifest import read_manifest
from tests.helpers import digests

GREY = np.linspace(0, 255, 40 * 30).reshape(40, 30).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def pixels(path: Path) -> np.ndarray:
    photo = read_photo(path)
    assert photo.mode == "RGB"
    return np.asarray(photo)


def test_palette_image_is_decoded_to_its_colors(tmp_path):
    four = Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(40, 30) % 4, "P")
    four.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    four.save(tmp_path / "p.png")
    np.testing.assert_array_equal(
        pixels(tmp_path / "p.png")[0, :4], [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]]
    )
    four.save(tmp_path / "t.png", transparency=1)  # one of the colours is transparent and becomes black
    np.testing.assert_array_equal(pixels(tmp_path / "t.png")[0, :3], [[10, 20, 30], [0, 0, 0], [0, 200, 0]])


def test_grey_image_with_alpha_is_blended_on_black(tmp_path):
    Image.fromarray(np.dstack([GREY, np.where(GREY < 128, 0, 255).astype(np.uint8)]), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(pixels(tmp_path / "la.png")[..., 1], np.where(GREY < 128, 0, GREY))


def test_animation_is_decoded_as_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (30, 40), color) for color in ("red", "blue", "green")]
    for name in ("a.gif", "a.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert (pixels(tmp_path / name) == (255, 0, 0)).all()


@pytest.mark.parametrize(("turn", "undone"), [(3, 2), (6, 3), (8, 1)])
def test_a_turned_jpeg_stands_upright(turn, undone, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(GREY).save(tmp_path / "t.jpg", exif=exif, quality=100)
    np.testing.assert_allclose(pixels(tmp_path / "t.jpg")[..., 0].astype(int), np.rot90(GREY, undone), atol=6)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_16_bit_images_keep_their_range(name, tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / name), GREY[..., None].repeat(3, 2))


def test_16_bit_images_in_32_bit_mode_keep_their_range(tmp_path):
    """Pillow opens portable greymaps, and older versions also PNGs, in the mode of 32-bit integers."""
    deep = (GREY.astype(">u2") * 257).tobytes()
    (tmp_path / "deep.ppm").write_bytes(b"P5 30 40 65535\n" + deep)
    np.testing.assert_array_equal(pixels(tmp_path / "deep.ppm"), GREY[..., None].repeat(3, 2))


def test_float_images_are_scaled_by_their_maximum(tmp_path):
    Image.fromarray(GREY.astype(np.float32) * 3 - 6).save(tmp_path / "f.tif")
    wanted = (np.clip((GREY * 3.0 - 6) / (255 * 3 - 6), 0, 1) * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(pixels(tmp_path / "f.tif"), wanted[..., None].repeat(3, 2))


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK", "1"])
def test_photo_decoded_in_strips_has_no_seam(mode, tmp_path, monkeypatch):
    Image.fromarray(RGB).convert(mode).save(tmp_path / "x.tif")
    whole = pixels(tmp_path / "x.tif")
    monkeypatch.setattr(rgb_pixels, "_STRIP_PIXELS", 31)
    np.testing.assert_array_equal(pixels(tmp_path / "x.tif"), whole)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "k.jpg", quality=100, subsampling=0)
    np.testing.assert_allclose(pixels(tmp_path / "k.jpg").astype(int), RGB, atol=8)


def huge(path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(path)


def narrow(path: Path) -> None:
    Image.new("RGB", (400, 20)).save(path)


def tiny(path: Path) -> None:
    Image.new("RGB", (15, 15)).save(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    Image.fromarray(RGB).resize((300, 400)).save(path)
    path.write_bytes(path.read_bytes()[:-900])


def too_large(path: Path) -> None:
    """Write an image below the limit of Pillow, but with 8 bytes per pixel."""
    Image.new("L", (13_000, 7_000)).save(path)


def not_a_number(path: Path) -> None:
    values = GREY.astype(np.float32)
    values[7, 7] = np.nan
    Image.fromarray(values).save(path, format="TIFF")


def infinite(path: Path) -> None:
    values = GREY.astype(np.float32)
    values[7, 7] = -np.inf
    Image.fromarray(values).save(path, format="TIFF")


def wide_integers(path: Path) -> None:
    Image.fromarray(GREY.astype(np.int32)).save(path, format="TIFF")


def of_another_format(path: Path) -> None:
    """Write a format whose decoder may use memory that is not counted, or start a program."""
    Image.fromarray(RGB).save(path, format="JPEG2000")


BAD = {
    huge: "cannot be read as an image .*exceeds limit",
    narrow: "the photo has 400 × 20 pixels; a background needs .* an aspect ratio of at most 10; remove it",
    tiny: "the photo has 15 × 15 pixels; a background needs at least 16 pixels a side",
    empty: "cannot be read as an image",
    cut: "cannot be read as an image",
    too_large: "13000 × 7000 pixels take more than 600 MB to decode; scale it down",
    not_a_number: "some pixels are NaN or infinite",
    infinite: "some pixels are NaN or infinite",
    of_another_format: r"cannot be read as an image \(none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP\); repair",
    wide_integers: "pixels of 32 bits have no defined white",
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("spoil", BAD)
def test_unusable_photo_is_refused_by_name(spoil, tmp_path):
    spoil(tmp_path / "bad.png")
    with pytest.raises(DataProblemError, match=rf"/bad\.png: {BAD[spoil]}"):
        read_photo(tmp_path / "bad.png")


@pytest.fixture
def with_bad(photo_folder, tmp_path) -> Path:
    """Return a folder of the seven photos and one bad file of every kind."""
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    for spoil in BAD:
        spoil(folder / f"{spoil.__name__}.png")
    return folder


def test_skip_bad_gives_the_data_set_of_the_good_photos(with_bad, photo_folder, idx_folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    sizes = {"train": 9, "val": 3, "test": 3}
    some, skipped = (
        generate(Request("mbg", tmp_path / str(k), 0, sizes, str(idx_folder), str(folder), skip_bad=bool(k)))
        for k, folder in enumerate((photo_folder, with_bad))
    )
    assert [line for line in caplog.messages if "left out" in line] == [
        f"photos: 7 used; left out: {len(BAD)} photos that cannot be used (cut.png, empty.png, huge.png …)"
    ]
    assert skipped.name == some.name
    assert read_manifest(skipped).photos == read_manifest(some).photos
    same = {name: digest for name, digest in digests(some).items() if name.endswith(".h5")}
    assert same.items() <= digests(skipped).items()
    with pytest.raises(DataProblemError, match=r"\.png: "):
        generate(Request("mbg", tmp_path / "strict", 0, sizes, str(idx_folder), str(with_bad)))


def test_photo_content_is_checked_once(with_bad, photo_folder, tmp_path, monkeypatch):
    judged = []

    def judge(path, pool):
        judged.append(path.name)
        return path.name == "cut.png"

    monkeypatch.setattr(photo_checks, "_is_bad", judge)
    assert len(list_photos(str(with_bad), tmp_path, skip_bad=True).paths) == 6 + len(BAD)
    assert len(judged) == 7 + len(BAD)
    assert len(list_photos(str(with_bad), tmp_path, skip_bad=True).paths) == 6 + len(BAD)
    assert len(judged) == 7 + len(BAD)
    cut(with_bad / "another.png")
    narrow(with_bad / "cut.png")  # a repaired file counts as another file
    list_photos(str(with_bad), tmp_path, skip_bad=True)
    assert len(judged) == 7 + len(BAD)  # both contents were checked before
    Image.new("RGB", (33, 44)).save(with_bad / "new.png")
    list_photos(str(with_bad), tmp_path, skip_bad=True)
    assert judged[7 + len(BAD) :] == ["new.png"]
    (tmp_path / "refused.json").write_text("[" * 100_000)
    list_photos(str(with_bad), tmp_path, skip_bad=True)
    assert len(judged) > 12 + len(BAD)


def test_a_folder_of_bad_photos_alone_is_a_data_error(tmp_path):
    empty(tmp_path / "a.png")
    with pytest.raises(DataProblemError, match=r"not one of 1 photos can be used \(a\.png\)"):
        list_photos(str(tmp_path), tmp_path / "raw", skip_bad=True)


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
