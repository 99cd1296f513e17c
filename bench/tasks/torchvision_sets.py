"""Tasks that torchvision loads: it downloads them, checks them and reads them. Imports torchvision on first use.

The files lie in the folder of downloads, as torchvision's own `root`.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.tasks.image_resize import square_image, square_images, square_mask
from bench.tasks.task_spec import LabelledImages, LoadedTask
from mnistref.common.errors import DataProblemError

PETS_FOLDER = "oxford-iiit-pet"
"""The folder of torchvision for Oxford-IIIT Pets, in the folder of downloads."""
_DIGITS = tuple(map(str, range(10)))


class Source(NamedTuple):
    """Where the files of a data set are: the address to download them from, and the folder that torchvision reads."""

    address: str
    folder: Path


def load_cifar10(raw: Path, side: int) -> LoadedTask:
    """Return CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 images of 32 px, 10 classes."""
    return _load_cifar("CIFAR10", raw, side)


def load_cifar100(raw: Path, side: int) -> LoadedTask:
    """Return CIFAR-100 (Krizhevsky 2009): 50,000 and 10,000 images of 32 px, 100 classes."""
    return _load_cifar("CIFAR100", raw, side)


def _load_cifar(name: str, raw: Path, side: int) -> LoadedTask:
    archive = {"CIFAR10": "cifar-10-python.tar.gz", "CIFAR100": "cifar-100-python.tar.gz"}[name]
    source = Source(f"https://www.cs.toronto.edu/~kriz/{archive}", raw)
    sets = _open(name, raw, source, ({"train": True}, {"train": False}))
    parts = [LabelledImages(square_images(s.data, side), np.array(s.targets, np.int64)) for s in sets]
    return LoadedTask(tuple(sets[0].classes), *parts)


def load_svhn(raw: Path, side: int) -> LoadedTask:
    """Return SVHN (Netzer 2011), cropped digits: 73,257 and 26,032 images of 32 px; without the extra images."""
    source = Source("http://ufldl.stanford.edu/housenumbers/ (train_32x32.mat and test_32x32.mat)", raw)
    sets = _open("SVHN", raw, source, ({"split": "train"}, {"split": "test"}))
    return LoadedTask(_DIGITS, *(_channels_last(s, side) for s in sets))


def load_stl10(raw: Path, side: int) -> LoadedTask:
    """Return STL-10 (Coates 2011): 5,000 and 8,000 images of 96 px, 10 classes; without the unlabelled images."""
    source = Source("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", raw)
    sets = _open("STL10", raw, source, ({"split": "train"}, {"split": "test"}))
    return LoadedTask(tuple(sets[0].classes), *(_channels_last(s, side) for s in sets))


def _channels_last(dataset: Any, side: int) -> LabelledImages:
    images = square_images(dataset.data.transpose(0, 2, 3, 1), side)
    return LabelledImages(images, dataset.labels.astype(np.int64))


def load_pets(raw: Path, side: int) -> LoadedTask:
    """Return Oxford-IIIT Pets (Parkhi 2012): 37 breeds, with masks: the body and the outline of the animal."""
    files = "https://www.robots.ox.ac.uk/~vgg/data/pets/ (images.tar.gz and annotations.tar.gz)"
    source = Source(files, raw / PETS_FOLDER)
    kinds = {"target_types": ("category", "segmentation")}
    sets = _open("OxfordIIITPet", raw, source, ({"split": "trainval", **kinds}, {"split": "test", **kinds}))
    return LoadedTask(tuple(sets[0].classes), *(_read_pets(s, side) for s in sets))


_TRIMAP_BACKGROUND = 2


def _read_pets(dataset: Any, side: int) -> LabelledImages:
    images, labels, masks = [], [], []
    for k in range(len(dataset)):
        image, (label, trimap) = dataset[k]
        images.append(square_image(image, side))
        labels.append(label)
        masks.append(square_mask(np.asarray(trimap) != _TRIMAP_BACKGROUND, side))
    return LabelledImages(np.stack(images), np.array(labels, np.int64), np.stack(masks))


def _open(name: str, raw: Path, source: Source, splits: Sequence[dict[str, Any]]) -> list[Any]:
    """Return torchvision's data sets of both splits. Download the files if they are missing.

    Raises:
        DataProblemError: they are missing or damaged, and cannot be fetched. The message says which of both, and where
            to put them.
    """
    from torchvision import datasets

    loader: Callable[..., Any] = getattr(datasets, name)
    raw.mkdir(parents=True, exist_ok=True)
    try:
        return [loader(str(raw), download=True, **arguments) for arguments in splits]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem, again = f"{name} could not be fetched ({reason})", ""
        if damaged := next((path for path, md5 in _list_checksums(loader, raw) if _is_damaged(path, md5)), None):
            problem = f"{damaged} exists, but its checksum differs; {problem}"
            again = " again"
        raise DataProblemError(
            f"{problem}; download {source.address}{again}, and put the files in {source.folder} as they are"
        ) from error


def _list_checksums(loader: Any, raw: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and MD5 of the files that one of torchvision's classes checks, archives first."""
    if hasattr(loader, "tgz_md5"):  # CIFAR and STL-10
        yield raw / loader.filename, loader.tgz_md5
        for name, md5 in (*loader.train_list, *loader.test_list):
            yield raw / loader.base_folder / name, md5
    for split in ("train", "test") if hasattr(loader, "split_list") else ():  # SVHN
        yield raw / loader.split_list[split][1], loader.split_list[split][2]
    for url, md5 in getattr(loader, "_RESOURCES", ()):  # Pets
        yield raw / PETS_FOLDER / url.rpartition("/")[2], md5


def _is_damaged(path: Path, md5: str) -> bool:
    """Return whether a file exists and has another checksum."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() != md5
