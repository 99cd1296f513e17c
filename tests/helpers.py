"""Helpers for tests of both packages."""

import hashlib
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

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


def long_form(values: Iterable, short: Iterable) -> list:
    """Return all values as parameters of a test. Those that are not in `short` run with `--rounds 200` only."""
    kept = {_as_tuple(value) for value in short}
    sets = [_as_tuple(value) for value in values]
    return [pytest.param(*each, marks=() if each in kept else pytest.mark.long_form) for each in sets]


def _as_tuple(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


FAMILIES = (
    *("none", "san", "han", "stn-m", "pan-ctx", "arnn", "arnn-ind-sampled", "brnn2", "unet2", "unet3-arnn", "cbam"),
    *("cbam-arnn", "ltpa-dp", "ltpa-pc", "se", "eca", "coord", "film", "self"),
)
"""One mechanism, or two, of each class in `bench.attention`."""


def networks(*attns: str, width: int = DEFAULT_WIDTH) -> list[NetworkSpec]:
    """Return the networks of these slot lists."""
    return [resolve_network(attn, width) for attn in attns]


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
