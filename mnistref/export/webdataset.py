"""WebDataset: a tar file for each shard with the files of each image, such as `000000.png` and `000000.json`."""

import io
import json
import tarfile
from pathlib import Path

from mnistref.export.rows import PICTURES, Part, rows

SUFFIXES = {name: "png" if name == "image" else f"{name}.png" for name in PICTURES}

LAYOUT = """Tar files of the format WebDataset, in the order of the images. A sample consists of
`000000.png` (the image), `000000.mask.png`, `000000.instance.png` and `000000.json` (all other fields).

```python
import webdataset

samples = webdataset.WebDataset("{split}-00000-of-{shards:05d}.tar", shardshuffle=False).decode("pil")
image, mask, fields = next(iter(samples.to_tuple("png", "mask.png", "json")))
```"""


def write(part: Part, folder: Path) -> None:
    """Write one shard as a tar file. Its bytes depend only on the content and on Pillow's zlib."""
    with tarfile.open(folder / f"{part.stem}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, row in rows(part):
            files = {suffix: row.pop(name) for name, suffix in SUFFIXES.items()}
            files["json"] = json.dumps(row).encode()
            for suffix, data in files.items():
                entry = tarfile.TarInfo(f"{key}.{suffix}")  # its time, owner and mode are the same everywhere
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
