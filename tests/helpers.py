"""Helpers for tests of both packages."""

import hashlib
import socket
from pathlib import Path

from bench.attention import NetworkSpec, resolve_network
from bench.config import DEFAULT_WIDTH

TOP = Path(__file__).parent.parent


def reread(path, images: int, canvas: int):
    """Return writable arrays of a shard."""
    from mnistref.storage.shards import read_whole_shard

    return read_whole_shard(path, images, canvas)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a data set."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def networks(*attns: str, width: int = DEFAULT_WIDTH) -> list[NetworkSpec]:
    """Return the networks of these slot lists."""
    return [resolve_network(attn, width) for attn in attns]


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
