"""`folder:DIR`: a folder with one folder of images for each class."""

import hashlib
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.tasks.image_resize import square_image
from bench.tasks.task_spec import LabelledImages, LoadedTask, split_by_class
from mnistref.common.atomic_files import file_sha256
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.common.rgb_pixels import to_rgb

log = logging.getLogger("bench")

PREFIX = "folder:"
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
TEST_SHARE = 0.2
MIN_IMAGES = 3
"""Least number of images of a class: one for each split."""


def find_class_images(folder: Path) -> dict[str, list[Path]]:
    """Return class → its image files, both sorted by name. Hidden files and folders are skipped.

    Raises:
        UsageProblemError: there is no such folder.
        DataProblemError: there are fewer than two classes, or a class has too few images.
    """
    if not folder.is_dir():
        raise UsageProblemError(f"{PREFIX}{folder}: no such folder; give a folder that has a folder for each class")
    found: dict[str, list[Path]] = {}
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith("."):
            found[place.name] = [
                path
                for path in sorted(place.rglob("*"))
                if path.suffix.lower() in SUFFIXES
                and not any(part.startswith(".") for part in path.relative_to(place).parts)
            ]
    found = {name: paths for name, paths in found.items() if paths}
    if len(found) < 2:
        raise DataProblemError(
            f"{folder}: {len(found)} folder with images; a task needs a folder for each of its classes"
        )
    for name, paths in found.items():
        if len(paths) < MIN_IMAGES:
            raise DataProblemError(f"{folder / name}: {len(paths)} images; a class needs {MIN_IMAGES} or more")
    return found


def digest_folder(folder: Path) -> str:
    """Return the digest of the classes and of the content of their images."""
    lines = [f"{name} {file_sha256(path)}" for name, paths in find_class_images(folder).items() for path in paths]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def load_folder(folder: Path, side: int, seed: int = 0) -> LoadedTask:
    """Read the images, and draw test images from each class.

    Files with the content of an earlier one are left out, so that no image is in two splits.

    Args:
        folder: the folder of the class folders.
        side: side of the images in pixels.
        seed: seed of the draw.

    Raises:
        UsageProblemError, DataProblemError: see `find_class_images`; or a file is no image.
    """
    classes = find_class_images(folder)
    images, labels, seen = [], [], set[str]()
    for label, paths in enumerate(classes.values()):
        for path in paths:
            digest = file_sha256(path)
            if digest not in seen:
                seen.add(digest)
                images.append(_read(path, side))
                labels.append(label)
    if copies := sum(map(len, classes.values())) - len(images):
        log.info("%s: %d files are copies of others and left out", folder, copies)
    every = LabelledImages(np.stack(images), np.array(labels, np.int64))
    counts = np.bincount(every.labels, minlength=len(classes))
    if counts.min() < MIN_IMAGES:
        name = list(classes)[int(counts.argmin())]
        raise DataProblemError(f"{folder / name}: {counts.min()} different images; a class needs {MIN_IMAGES} or more")
    train, test = (take_images(every, part) for part in split_by_class(every.labels, TEST_SHARE, seed))
    return LoadedTask(tuple(classes), train, test)


def take_images(images: LabelledImages, indices: np.ndarray) -> LabelledImages:
    """Return the images with these indices, i8."""
    masks = None if images.masks is None else images.masks[indices]
    return LabelledImages(images.images[indices], images.labels[indices], masks)


def _read(path: Path, side: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format  # a copy has none, and 16 bits of TIFF and PNG are known by it
            return square_image(to_rgb(upright), side)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataProblemError(f"{path}: no image that can be read ({error}); remove it") from error
