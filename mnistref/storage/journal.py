"""The journal of an unfinished set: what its finished shards must be, so that a later run knows them by their bytes.

HDF5 can crash or hang on a damaged file, so no file is parsed whose SHA-256 nobody vouches for. While a set is made the
journal does; the manifest takes its place. Only the process that holds the set's lock writes it.
"""

import hashlib
import json
from pathlib import Path

from mnistref.spec import canonical_json
from mnistref.storage.shards import ShardInfo

JOURNAL = ".unfinished"


def append_shard(folder: Path, shard: ShardInfo) -> None:
    """Add a finished shard. A line that is torn, or lost with the power, costs one shard drawn again."""
    text = canonical_json(shard.as_dict())
    with open(folder / JOURNAL, "a", encoding="utf-8") as file:
        file.write(f"\n{_seal(folder, text)} {text}")


def read_journal(folder: Path) -> list[ShardInfo]:
    """The shards that sound lines of this set's journal name."""
    path = folder / JOURNAL
    lines = path.read_bytes().decode("utf-8", "replace").splitlines() if path.is_file() else []
    parts = (line.partition(" ") for line in lines)
    return [ShardInfo(**json.loads(text)) for seal, _, text in parts if seal == _seal(folder, text)]


def _seal(folder: Path, text: str) -> str:
    """Tells a sound line of this set from a torn one, and from one of another set."""
    return hashlib.sha256(f"{folder.name} {text}".encode()).hexdigest()
