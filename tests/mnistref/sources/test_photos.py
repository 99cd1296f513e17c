"""Folders of photos as users have them: file names, permissions, messages, interrupts and memory."""

import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import mnistref
from mnistref.common import atomic_files
from mnistref.common.atomic_files import PARTIAL
from mnistref.common.errors import DataProblemError
from mnistref.sources import image_files
from mnistref.sources import photos as photo_source
from mnistref.sources.decode import read_photo
from mnistref.sources.photos import list_photos, split_photos
from mnistref.spec import SPLITS
from tests.helpers import TOP

BYTES = os.fsdecode(b"\xff\xfe.png")


def photo(path: Path, size=(40, 30), shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 10, 20)).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder of five photos and one whose name is not UTF-8."""
    for k in range(5):
        photo(tmp_path / "photos" / f"{k}.png", shade=k)
    try:
        photo(tmp_path / "photos" / BYTES, shade=99)
    except OSError:
        pytest.skip("this file system takes no such names")
    return tmp_path / "photos"


def test_non_utf_8_name_is_stored_as_text_in_every_record(folder, idx_folder, tmp_path):
    sizes = ["--train", "3", "--val", "1", "--test", "1", "--digits", str(idx_folder)]
    command = ["generate", "--variant", "mbg", "--root", str(tmp_path / "root"), "--backgrounds", str(folder), *sizes]
    done = CliRunner().invoke(mnistref, command)
    assert done.exit_code == 0, done.stderr
    made = Path(done.stdout.strip())
    names = {photo["name"] for photo in json.loads((made / "dataset.json").read_text())["photos"]}
    assert names == {"bytes:%FF%FE.png", *(f"{k}.png" for k in range(5))}
    assert {atomic_files.path_of_text(name) for name in names} == set(os.listdir(folder))
    for command in (["verify", made], ["stats", made], ["export", made, "--to", "png", "-o", tmp_path / "png"]):
        done = CliRunner().invoke(mnistref, list(map(str, command)))
        assert done.exit_code == 0, done.stderr


def test_non_utf_8_folder_is_named_by_escapes(tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        photo(place / "a.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    assert list_photos(str(place), tmp_path).name == "caf\\udce9"


def test_a_file_that_may_not_be_read_is_named_and_can_be_skipped(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    for k in range(4):
        photo(tmp_path / "photos" / f"{k}.png", shade=k)

    def sha256(path):
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied", str(path))
        return atomic_files.file_sha256(path)

    monkeypatch.setattr("mnistref.sources.photos.file_sha256", sha256)
    with pytest.raises(PermissionError) as caught:
        list_photos(str(tmp_path / "photos"), tmp_path)
    assert caught.value.filename.endswith("2.png")
    assert len(list_photos(str(tmp_path / "photos"), tmp_path, skip_bad=True).paths) == 3
    assert caplog.messages == ["photos: 3 used; left out: 1 photo that cannot be used (2.png)"]


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from mnistref.sources.image_files import find_images
os.setuid(65534)
find_images(Path(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to give up rights")
def test_a_folder_that_may_not_be_searched_is_an_error(tmp_path):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "locked" / "b.png")
    (tmp_path / "photos" / "locked").chmod(0)
    ways = (tmp_path, *tmp_path.parents)
    for place in itertools.takewhile(lambda place: place.name.startswith(("test_", "popen-", "pytest-")), ways):
        place.chmod(0o755)
    code = [sys.executable, "-c", UNPRIVILEGED, str(tmp_path / "photos")]
    done = subprocess.run(code, cwd=TOP, capture_output=True, text=True, check=False)
    assert "DataProblemError" in done.stderr
    assert "locked: cannot be searched for photos (Permission denied)" in done.stderr


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    photo(tmp_path / "a.png")

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(image_files.os, "scandir", scandir)
    with pytest.raises(DataProblemError, match="cannot be searched for photos"):
        list_photos(str(tmp_path), tmp_path)


def test_other_files_are_counted_in_one_line(tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    place = tmp_path / "photos"
    photo(place / "a.png")
    for name in ("b.heic", "c.HEIC", "notes.txt", "sub/d.avif"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"x")
    assert len(list_photos(str(place), tmp_path).paths) == 1
    assert caplog.messages == ["photos: 1 used; left out: 4 other files (.avif, .heic, .txt)"]
    (place / "a.png").unlink()
    with pytest.raises(DataProblemError, match=r"no images here, but 4 other files \(\.avif, \.heic, \.txt\)"):
        list_photos(str(place), tmp_path)


WARNED = """
import sys
from pathlib import Path
from PIL import Image
from mnistref.sources.decode import read_photo
from mnistref.sources.bank import prepare_bank
from mnistref.sources.photos import list_photos
Image.MAX_IMAGE_PIXELS = 3000
photos = list_photos(sys.argv[1], Path(sys.argv[2]))
prepare_bank(photos, 20, Path(sys.argv[2]))
print("prepared", file=sys.stderr)
for path in photos.paths:
    read_photo(path)
"""


def test_no_warning_of_a_library_reaches_stderr(tmp_path):
    """A large photo and one with truncated EXIF data are used without a message."""
    place = tmp_path / "photos"
    photo(place / "large.png", (60, 70))
    Image.new("RGB", (50, 40)).save(place / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x30\0\x12\x01")
    command = [sys.executable, "-W", "always", "-c", WARNED, str(place), str(tmp_path / "raw")]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
    before, _, after = done.stderr.partition("prepared\n")
    assert before == ""
    assert "DecompressionBombWarning" in after  # shows that the warning is not disabled everywhere
    assert "Corrupt EXIF" in after


MEASURED = """
import re, sys
from pathlib import Path
from mnistref.sources.bank import prepare_bank
from mnistref.sources.photos import list_photos
photos = list_photos(sys.argv[1], Path(sys.argv[2]))
prepare_bank(photos, 20, Path(sys.argv[2]))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.long_form
def test_huge_photos_take_less_than_a_gigabyte(tmp_path):
    """There are five photos of 120 MB each when decoded; every second one must be rotated."""
    rng = np.random.default_rng(0)
    for k in range(5):
        exif = Image.Exif()
        exif[0x0112] = 1 if k % 2 else 6
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        path = tmp_path / "photos" / f"{k}.jpg"
        path.parent.mkdir(exist_ok=True)
        small.resize((6000, 5000), Image.Resampling.NEAREST).save(path, exif=exif, progressive=k % 4 == 0)
    code = [sys.executable, "-c", MEASURED, str(tmp_path / "photos"), str(tmp_path / "raw")]
    done = subprocess.run(code, cwd=TOP, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 800_000


def test_an_interrupt_while_photos_are_prepared_ends_at_once(idx_folder, tmp_path):
    photo(tmp_path / "photos" / "huge.png", (9_000, 9_000))
    for k in range(4):
        photo(tmp_path / "photos" / f"{k}.png", shade=k + 1)
    sources = ["--digits", str(idx_folder), "--backgrounds", str(tmp_path / "photos")]
    root = tmp_path / "root"
    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "generate", "--variant", "mbg", "--root", str(root)]
    for wait in (0, 1):
        running = subprocess.Popen(
            [*command, *sources], stderr=subprocess.PIPE, text=True, preexec_fn=enable_interrupts
        )
        while not any((root / "raw").glob(f"{PARTIAL}*")):
            assert running.poll() is None
            time.sleep(0.02)
        time.sleep(wait)
        begin = time.monotonic()
        running.send_signal(signal.SIGINT)
        errors = running.communicate(timeout=60)[1]
        assert time.monotonic() - begin < 5
        assert running.returncode == 130
        assert errors.splitlines()[-1].startswith("error: interrupted")
        assert not any((root / "raw").glob(f"{PARTIAL}*"))


def enable_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it


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
