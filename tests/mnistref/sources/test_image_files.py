"""Folders of photos with hidden folders, links and loops: the photos found, their names, and the excluded files."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnistref.common.errors import DataProblemError
from mnistref.sources.exclusions import BROKEN, REPEATED, Exclusions
from mnistref.sources.image_files import find_images
from mnistref.sources.photos import list_photos

pytestmark = pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")


def photo(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (shade, 10, 20)).save(path)
    return path


def names(folder: Path) -> tuple[list[str], Exclusions]:
    left = Exclusions()
    return [name for name, _ in find_images(folder, left)], left


@pytest.fixture
def folder(tmp_path) -> Path:
    photo(tmp_path / "photos" / "a.png", 1)
    photo(tmp_path / "photos" / "sub" / "b.png", 2)
    return tmp_path / "photos"


def test_hidden_files_and_folders_are_no_photos(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    hidden = (".c.png", "._a.png", ".cache/c.png", "sub/.thumbnails/b.png", "__MACOSX/a.png", "@eaDir/a.png/S.png")
    hidden += ("$RECYCLE.BIN/c.png", "System Volume Information/c.png", "lost+found/c.png", ".DS_Store", "Thumbs.db")
    for shade, name in enumerate(hidden, 3):
        photo(folder / "x.png", shade).parent.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "x.png", folder / name)
    found, left = names(folder)
    assert found == ["a.png", "sub/b.png"]
    assert str(left) == f"{len(hidden)} hidden files or folders"
    assert len(list_photos(str(folder), tmp_path).paths) == 2
    assert caplog.messages == [f"photos: 2 used; left out: {len(hidden)} hidden files or folders"]


def test_a_folder_that_is_itself_hidden_or_a_link_is_searched(folder, tmp_path):
    folder.rename(tmp_path / ".photos")
    (tmp_path / "link").symlink_to(tmp_path / ".photos")
    assert names(tmp_path / ".photos")[0] == names(tmp_path / "link")[0] == ["a.png", "sub/b.png"]


def test_links_are_followed_and_loops_end(folder, tmp_path):
    photo(tmp_path / "elsewhere" / "c.png", 3)
    photo(tmp_path / "elsewhere" / "deep" / "d.png", 4)
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "sub" / "self").symlink_to(".")
    (folder / "above").symlink_to(tmp_path)
    found, left = names(folder)
    # links are followed in order: `again` comes before `more`, so `deep` is already searched there
    assert found == ["a.png", "again/d.png", "more/c.png", "sub/b.png"]
    assert sorted(left.names(REPEATED)) == ["above", "back", "round", "self", "up"]


def test_broken_links_and_links_to_themselves_are_left_out(folder):
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "one").symlink_to("other")
    (folder / "other").symlink_to("one")
    found, left = names(folder)
    assert found == ["a.png", "sub/b.png"]
    assert left.names(BROKEN) == ["gone.png", "loop.png", "one", "other"]
    assert str(left) == "4 broken links"


def test_a_real_file_is_preferred_to_links_to_it(folder, tmp_path):
    (folder / "0.png").symlink_to("sub/b.png")
    (folder / "1.png").symlink_to("0.png")
    (folder / "0dir").symlink_to("sub")
    outside = photo(tmp_path / "outside.png", 5)
    (folder / "z.png").symlink_to(outside)
    (folder / "y.png").symlink_to(outside)
    (folder / "w.txt").symlink_to(outside)
    found, left = names(folder)
    assert found == ["a.png", "sub/b.png", "y.png"]
    assert left.names(REPEATED) == ["0.png", "0dir", "1.png", "z.png"]
    assert str(left) == "1 other file (.txt), 4 links to what is searched anyway"


def test_special_files_are_no_photos(folder):
    os.mkfifo(folder / "pipe.png")
    (folder / "pipelink.png").symlink_to("pipe.png")
    found, left = names(folder)
    assert found == ["a.png", "sub/b.png"]
    assert str(left) == "2 other files (.png)"


def test_links_do_not_change_the_fingerprint_of_the_photos(folder, tmp_path):
    """The name of the data set depends on the content of the photos."""
    before = list_photos(str(folder), tmp_path)
    (folder / "0.png").symlink_to("a.png")
    (folder / "0").symlink_to("sub")
    os.link(folder / "a.png", folder / "hard.png")
    after = list_photos(str(folder), tmp_path)
    assert after.sha256 == before.sha256
    assert after.names == before.names


def test_no_message_without_excluded_files(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "mnistref")
    list_photos(str(folder), tmp_path, skip_bad=True, skip_copies=True)
    assert caplog.messages == []


def test_error_without_photos_lists_the_files_that_exist(tmp_path):
    photo(tmp_path / "photos" / ".hidden" / "a.png")
    (tmp_path / "photos" / "b.png").symlink_to("nowhere")
    (tmp_path / "photos" / "c.heic").write_bytes(b"x")
    message = r"no images here, but 1 hidden file or folder, 1 other file \(\.heic\), 1 broken link; photos end in"
    with pytest.raises(DataProblemError, match=message):
        find_images(tmp_path / "photos")


PLACES = ("a", "b", "a/c", "a/d", "b/e")


@settings(max_examples=60, deadline=None)
@given(
    photos=st.sets(st.sampled_from(PLACES), min_size=1),
    links=st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["l", "m"]), st.sampled_from(["", ".", *PLACES]))
    ),
)
def test_a_tree_of_links_gives_each_real_photo_once(photos, links, tmp_path_factory):
    """This holds for any targets of the links and any order of the folder listing."""
    top = tmp_path_factory.mktemp("tree")
    for place in PLACES:
        (top / place).mkdir(parents=True)
    for shade, place in enumerate(sorted(photos)):
        photo(top / place / f"{shade}.png", shade)
    for place, name, target in links:
        if not (top / place / name).is_symlink():
            (top / place / name).symlink_to(top / target)
    found, _ = names(top)
    assert found == sorted(f"{place}/{shade}.png" for shade, place in enumerate(sorted(photos)))
    shutil.rmtree(top)
