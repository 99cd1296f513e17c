"""A folder of photos in three classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = {"beach": 10, "forest": 11, "street at night": 12}


def write_photos(folder: Path, seed: int = 0) -> Path:
    """Write random photos of different sizes and formats, with a colour for each class."""
    rng = np.random.default_rng(seed)
    for k, (name, number) in enumerate(CLASSES.items()):
        (folder / name / "more").mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(0, 90, (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3), dtype=np.uint8)
            pixels[:, :, k] += 150
            place = folder / name / "more" if i % 3 == 0 else folder / name
            Image.fromarray(pixels).save(place / f"{i}.{('png', 'jpg', 'bmp')[i % 3]}")
    return folder


@pytest.fixture(scope="session")
def class_photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "Places 3")
