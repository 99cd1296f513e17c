"""`folder:DIR`: classes, splits and copies."""

import shutil

import numpy as np
import pytest
from PIL import Image

from bench.tasks.image_folder import digest_folder, find_class_images, load_folder
from mnistref.common.errors import DataProblemError, UsageProblemError
from tests.bench.tasks.conftest import CLASSES, write_photos


def test_classes_are_the_folders_and_each_is_divided(class_photos):
    task = load_folder(class_photos, 16)
    assert task.labels == tuple(CLASSES)
    assert np.bincount(task.test.labels).tolist() == [2, 2, 2]
    assert np.bincount(task.train.labels).tolist() == [8, 9, 10]
    assert task.train.images.shape == (27, 16, 16, 3)
    for label in range(3):  # the colour of the class
        assert task.test.images[task.test.labels == label].mean((0, 1, 2)).argmax() == label


def test_an_image_is_scaled_to_the_canvas_by_its_short_side_and_cropped(tmp_path, class_photos):
    shutil.copytree(class_photos, tmp_path / "photos")
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 250
    Image.fromarray(wide).save(tmp_path / "photos" / "beach" / "wide.png")
    task = load_folder(tmp_path / "photos", 10)
    every = np.concatenate([task.train.images, task.test.images])
    assert (every == 250).all((1, 2, 3)).sum() == 1


def test_copies_are_left_out_and_the_digest_follows_the_content(tmp_path, class_photos, caplog):
    folder = tmp_path / "photos"
    shutil.copytree(class_photos, folder)
    assert digest_folder(folder) == digest_folder(class_photos)
    shutil.copy(folder / "beach" / "1.jpg", folder / "forest" / "copy.jpg")
    assert digest_folder(folder) != digest_folder(class_photos)
    with caplog.at_level("INFO", "bench"):
        task = load_folder(folder, 16)
    assert "1 files are copies of others and left out" in caplog.text
    np.testing.assert_array_equal(task.test.images, load_folder(class_photos, 16).test.images)


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    folder = write_photos(tmp_path / "photos")
    for name in (".hidden.png", "notes.txt"):
        (folder / "beach" / name).write_text("no image")
    (folder / ".cache").mkdir()
    assert [len(paths) for paths in find_class_images(folder).values()] == list(CLASSES.values())


def test_bad_folders_are_errors_of_one_line(tmp_path):
    with pytest.raises(UsageProblemError, match=r"^folder:.*nowhere: no such folder; give a folder that has a folder"):
        load_folder(tmp_path / "nowhere", 16)
    folder = write_photos(tmp_path / "photos")
    (folder / "beach" / "broken.png").write_bytes(b"no PNG")
    with pytest.raises(DataProblemError, match=r"broken\.png: no image that can be read"):
        load_folder(folder, 16)
    shutil.rmtree(folder / "beach")
    shutil.rmtree(folder / "forest")
    with pytest.raises(DataProblemError, match="1 folder with images; a task needs a folder for each of its classes"):
        load_folder(folder, 16)
    (folder / "few").mkdir()
    shutil.copy(folder / "street at night" / "1.jpg", folder / "few" / "1.jpg")
    with pytest.raises(DataProblemError, match="few: 1 images; a class needs 3 or more"):
        load_folder(folder, 16)


def test_pixels_of_16_bits_and_transparent_ones_are_read_as_photos_are(tmp_path):
    """A ramp from black to white is the same with 8 and 16 bits and as floats; what is transparent is black."""
    folder = write_photos(tmp_path / "photos")
    ramp = np.tile(np.arange(16, dtype=np.uint16) * 4369, (16, 1))
    eight = (ramp // 257).astype(np.uint8)
    colour = np.stack([eight, eight, eight, np.where(np.arange(16) < 8, 0, 255) + 0 * eight], -1).astype(np.uint8)
    for place, image in (
        ("beach/deep.png", Image.fromarray(ramp)),
        ("forest/deep.tif", Image.fromarray(ramp)),
        ("forest/float.tif", Image.fromarray(ramp.astype(np.float32))),
        ("forest/clear.png", Image.fromarray(colour)),
    ):
        image.save(folder / place)
    task = load_folder(folder, 16)
    every = np.concatenate([task.train.images, task.test.images])[..., 0]
    assert (every == eight).all((1, 2)).sum() == 3
    assert (every == np.where(np.arange(16) < 8, 0, eight)).all((1, 2)).sum() == 1
    Image.fromarray(np.full((20, 20), 70_000, np.int32)).save(folder / "beach" / "integers.tif")
    with pytest.raises(DataProblemError, match=r"integers.tif: no image that can be read \(pixels of 32 bits"):
        load_folder(folder, 16)


def test_images_in_hidden_folders_are_skipped(tmp_path):
    folder = write_photos(tmp_path / "photos")
    shutil.copytree(folder / "forest", folder / "beach" / "more" / ".thumbnails")
    assert [len(paths) for paths in find_class_images(folder).values()] == list(CLASSES.values())
