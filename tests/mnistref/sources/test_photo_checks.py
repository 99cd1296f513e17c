"""The cache of results of photo checks."""

from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from PIL import Image

from mnistref.sources import photo_checks
from mnistref.sources.photos import list_photos


def photo(path: Path, size=(40, 30), shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 10, 20)).save(path)


def test_photo_cache_is_written_under_the_lock(tmp_path, monkeypatch):
    """The holder of the lock removes partial files, so a write without the lock could lose its file."""
    photo(tmp_path / "photos" / "a.png")
    held = []
    write_whole = photo_checks.write_whole

    def write(path, *pieces):
        with pytest.raises(Timeout), FileLock(path.parent / ".lock", timeout=0):
            pass
        held.append(path.name)
        write_whole(path, *pieces)

    monkeypatch.setattr(photo_checks, "write_whole", write)
    list_photos(str(tmp_path / "photos"), tmp_path / "raw", skip_bad=True, skip_copies=True)
    assert held == ["refused.json", "looks.npz"]
