"""The journal of an unfinished data set: checksums of its finished shards, by which a later run recognises them.

HDF5 can crash or hang on a damaged file, so a file is only parsed if its SHA-256 is known. The journal holds the
checksums during generation, the manifest afterwards. Only the process that holds the lock of the data set writes the
journal.
"""

import hashlib
import json
from pathlib import Path

from mnistref.spec import canonical_json
from mnistref.storage.shards import ShardInfo

JOURNAL = ".unfinished"


def append_shard(folder: Path, shard: ShardInfo) -> None:
    """Append a finished shard. If the line is torn or lost, only this shard is drawn again."""
    text = canonical_json(shard.as_dict())
    with open(folder / JOURNAL, "a", encoding="utf-8") as file:
        file.write(f"\n{_seal(folder, text)} {text}")


def read_journal(folder: Path) -> list[ShardInfo]:
    """Return the shards of all valid lines of the journal of this data set."""
    path = folder / JOURNAL
    lines = path.read_bytes().decode("utf-8", "replace").splitlines() if path.is_file() else []
    parts = (line.partition(" ") for line in lines)
    return [ShardInfo(**json.loads(text)) for seal, _, text in parts if seal == _seal(folder, text)]


def _seal(folder: Path, text: str) -> str:
    """Return the checksum of a line, which differs for torn lines and for other data sets."""
    return hashlib.sha256(f"{folder.name} {text}".encode()).hexdigest()
