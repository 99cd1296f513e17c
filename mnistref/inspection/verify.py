"""Verify every byte of a data set."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnistref.common.atomic_files import check_file, file_sha256, is_file
from mnistref.common.errors import DataProblemError
from mnistref.metadata.card import pages
from mnistref.storage.integrity import is_intact
from mnistref.storage.manifest import MANIFEST, PAGES, SUMS, Manifest, checksums_text, expected_checksums, read_manifest
from mnistref.storage.shards import read_shard_info

log = logging.getLogger("mnistref")


@dataclass(frozen=True)
class Fault:
    """A bad file and what is wrong with it. `stray` files are not part of the data set."""

    file: str
    description: str
    stray: bool = False


def advise_on_faults(faults: list[Fault]) -> str:
    """Return what to do about the faults."""
    mine = "remove what is not part of it, or move it away" if any(fault.stray for fault in faults) else ""
    return "; ".join(filter(None, [mine, "" if all(fault.stray for fault in faults) else "run generate again"]))


def verify(folder: Path) -> list[Fault]:
    """Return everything that is wrong with a data set, one fault per file; empty if every byte is correct.

    Three kinds of checksums identify the bad file. dataset.json stores a digest of itself and of each shard file, each
    shard stores a digest of its arrays, and SHA256SUMS stores the digest of every file.
    """
    folder = Path(folder)
    sums, lines = _read_sums(folder / SUMS)
    if sums and not os.path.lexists(folder / MANIFEST):
        return [Fault(MANIFEST, "missing")]
    try:
        manifest = read_manifest(folder)
    except DataProblemError as error:
        return [Fault(MANIFEST, str(error)), *_checksum_faults(folder, sums, lines)]
    faults = [*_page_faults(folder, manifest, sums), *_shard_faults(folder, manifest)]
    expected = expected_checksums(folder, manifest) | {f.file: sums[f.file] for f in faults if f.file in sums}
    if wrong := check_file(folder / SUMS):
        faults.append(Fault(SUMS, wrong))
    elif (folder / SUMS).read_bytes() != checksums_text(expected).encode():
        faults.append(Fault(SUMS, "differs from what generate writes"))
    known = {shard.file for shard in manifest.shards} | {MANIFEST, SUMS, *PAGES}
    strays = sorted(path.name for path in folder.iterdir() if path.name not in known)
    return faults + [Fault(name, "not part of the data set; remove it or move it away", True) for name in strays]


def _read_sums(path: Path) -> tuple[dict[str, str], list[int]]:
    """Return name → digest, and the numbers of invalid lines."""
    text = path.read_bytes().decode("utf-8", "replace") if is_file(path) else ""
    lines = [re.fullmatch(r"([0-9a-f]{64})  ([\w.-]{1,255})", line, re.ASCII) for line in text.splitlines()]
    return {line[2]: line[1] for line in lines if line}, [k for k, line in enumerate(lines, 1) if not line]


def _checksum_faults(folder: Path, sums: dict[str, str], lines: list[int]) -> Iterator[Fault]:
    """Yield files that differ from SHA256SUMS, the only check without a manifest."""
    for name, digest in sums.items():
        if name == MANIFEST:
            continue
        if wrong := check_file(folder / name):
            yield Fault(name, wrong)
        elif file_sha256(folder / name) != digest:
            yield Fault(name, f"its SHA-256 differs from {SUMS}")
    if lines:
        yield Fault(SUMS, f"line {lines[0]} is not a SHA-256 digest and a file name")


def _page_faults(folder: Path, manifest: Manifest, sums: dict[str, str]) -> Iterator[Fault]:
    """Yield pages whose SHA-256 is wrong.

    The manifest has the correct one. Manifests of older versions have none: then a page is correct if it has the
    SHA-256 in SHA256SUMS or is the page that this version writes.
    """
    if (folder / MANIFEST).read_bytes() != manifest.text().encode():
        yield Fault(MANIFEST, "differs from what generate writes")
    source, digests = (MANIFEST, manifest.pages) if manifest.pages else (SUMS, sums)
    for name, text in pages(manifest).items():
        if wrong := check_file(folder / name):
            yield Fault(name, wrong)
            continue
        found, ours = file_sha256(folder / name), hashlib.sha256(text.encode()).hexdigest()
        if found != digests.get(name) and (manifest.pages or found != ours):
            yield Fault(name, f"its SHA-256 differs from {source}")
        elif found != ours:
            log.info("%s: differs from the page that this version writes, but matches %s", folder / name, source)


def _shard_faults(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Yield bad shards. Only files with the correct SHA-256 are opened, because HDF5 can crash on others."""
    for shard in manifest.shards:
        path = folder / shard.file
        if not is_intact(path, shard):
            yield Fault(shard.file, check_file(path) or f"differs from {MANIFEST}")
            continue
        try:
            found = read_shard_info(path, shard.images, manifest.variant.canvas, manifest.folder_name)
        except DataProblemError as error:
            yield Fault(shard.file, str(error).removeprefix(f"{path}: "))
            continue
        if found != shard:
            yield Fault(shard.file, f"differs from {MANIFEST}")
