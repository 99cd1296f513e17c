"""PNG: a folder for each split with image files and `metadata.jsonl`, as `datasets` (`imagefolder`) reads it."""

import json
from pathlib import Path

from mnistref.export.rows import PICTURES, Part, rows

PLACES = {name: "" if name == "image" else f"{name}s/" for name in PICTURES}
"""Subfolder of a split for each picture."""

LAYOUT = """A folder for each split: the images `000000.png`, …, the folders `masks/` and `instances/` with a PNG of the
same name for each, and `metadata.jsonl`, which names all three and holds every other field, one line per image.

```python
import datasets

datasets.load_dataset("imagefolder", data_dir=".")  # columns image, mask, instance and the fields
```"""


def write(part: Part, folder: Path) -> None:
    """Write the files of one shard, and its metadata lines into a separate file."""
    place = folder / part.split
    for below in PLACES.values():
        (place / below).mkdir(parents=True, exist_ok=True)
    with open(place / f"{part.stem}.lines", "w", encoding="utf-8") as lines:
        for key, row in rows(part):
            names = {}
            for name, below in PLACES.items():
                names["file_name" if name == "image" else f"{name}_file_name"] = f"{below}{key}.png"
                (place / below / f"{key}.png").write_bytes(row.pop(name))
            lines.write(json.dumps({**names, **row}) + "\n")


def finish(folder: Path, splits: list[str]) -> None:
    """Join the metadata lines of the shards in order."""
    for split in splits:
        with open(folder / split / "metadata.jsonl", "wb") as metadata:
            for lines in sorted((folder / split).glob("*.lines")):
                metadata.write(lines.read_bytes())
                lines.unlink()
