"""Files in torchvision's own formats, written from the 20 real images of each CIFAR set that foolbox has."""

import hashlib
import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image
from torchvision import datasets


def real_images(name: str) -> tuple[np.ndarray, list[int]]:
    """Return images u1 (20, 32, 32, 3) and labels of cifar10 or cifar100."""
    paths = sorted(files("foolbox").joinpath("data").glob(f"{name}_*.png"))
    return np.stack([np.asarray(Image.open(path)) for path in paths]), [int(p.stem.split("_")[2]) for p in paths]


def write_cifar(raw: Path, name: str, monkeypatch) -> tuple[np.ndarray, list[int]]:
    """Write the images twice for training and once for the test, and let torchvision expect these files."""
    loader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    images, labels = real_images(name)
    rows, folder = images.transpose(0, 3, 1, 2).reshape(len(images), -1), raw / loader.base_folder
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"
    contents = {"train": {"data": np.tile(rows, (2, 1)), key: labels * 2}, "test": {"data": rows, key: labels}}
    classes = [f"class {k}" for k in range(10 if name == "cifar10" else 100)]
    contents["meta"] = {loader.meta["key"]: classes}
    sums = {}
    for part, content in contents.items():
        (folder / part).write_bytes(pickle.dumps(content))
        sums[part] = hashlib.md5((folder / part).read_bytes()).hexdigest()
    monkeypatch.setattr(loader, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(loader, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(loader, "meta", {**loader.meta, "filename": "meta", "md5": sums["meta"]})
    return images, labels


def write_svhn(raw: Path, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """Write the images of cifar10 as SVHN, where the label of the digit 0 is 10."""
    images, labels = real_images("cifar10")
    parts = {}
    raw.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        name = f"{split}_32x32.mat"
        stored = np.where(np.array(labels) == 0, 10, labels)[:, None].astype(np.uint8)
        scipy.io.savemat(raw / name, {"X": images.transpose(1, 2, 3, 0), "y": stored})
        parts[split] = ["", name, hashlib.md5((raw / name).read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", {**datasets.SVHN.split_list, **parts})
    return images, np.array(labels)


def write_stl10(raw: Path, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """Write the images of cifar10, magnified to 96 px, as STL-10."""
    images, labels = real_images("cifar10")
    large, folder = images.repeat(3, 1).repeat(3, 2), raw / datasets.STL10.base_folder
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(f"class {k}" for k in range(10)))
    sums = {}
    for part in ("train", "test"):
        (folder / f"{part}_X.bin").write_bytes(large.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((np.array(labels, np.uint8) + 1).tobytes())
        for kind in ("X", "y"):
            file = folder / f"{part}_{kind}.bin"
            sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    for part in ("train", "test"):
        names = [[f"{part}_{kind}.bin", sums[f"{part}_{kind}.bin"]] for kind in ("X", "y")]
        monkeypatch.setattr(datasets.STL10, f"{part}_list", names)
    return large, np.array(labels)


def write_pets(raw: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Write a few images of two breeds and their trimaps as Oxford-IIIT Pets; return images and bodies."""
    base = raw / "oxford-iiit-pet"
    for name in ("images", "annotations/trimaps"):
        (base / name).mkdir(parents=True)
    images, bodies = [], []
    lines = []
    for k, image in enumerate(real_images("cifar10")[0][:12]):
        tall = image.repeat(2, 0)  # 64 × 32
        trimap = np.full((64, 32), 2, np.uint8)
        trimap[16:40, 8:20], trimap[18:38, 10:18] = 3, 1
        breed, number = ("Maine_Coon", 1) if k % 2 else ("beagle", 2)
        name = f"{breed}_{k}"
        Image.fromarray(tall).save(base / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
        lines.append(f"{name} {number} {number} 1")
        images.append(np.asarray(Image.open(base / "images" / f"{name}.jpg")))
        bodies.append(trimap != 2)
    for split in ("trainval", "test"):
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return images, bodies
