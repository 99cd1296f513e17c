"""Checks of the files of a data set against the checksums of its manifest or journal."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mnistref.common.atomic_files import check_file, file_sha256, is_file
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.spec import DatasetSpec, canonical_json
from mnistref.storage.journal import JOURNAL, read_journal
from mnistref.storage.manifest import MANIFEST, PAGES, SUMS, checksums_text, expected_checksums, read_manifest
from mnistref.storage.shards import ShardInfo


def require_no_folders(folder: Path, shards: Iterable[str]) -> None:
    """Raise DataProblemError if a folder has the name of a file of the data set, which generation could not replace."""
    names = {*shards, MANIFEST, SUMS, JOURNAL, *PAGES}
    for path in sorted(folder.iterdir()):
        if path.name in names and path.is_dir() and not path.is_symlink():
            raise DataProblemError(f"{path}: {check_file(path)}; then run again")


def is_finished(folder: Path, spec: DatasetSpec) -> bool:
    """Return whether the data set is complete and every byte is correct.

    Raises:
        MismatchProblemError: the folder holds a data set with another specification.
    """
    try:
        manifest = read_manifest(folder)
    except (DataProblemError, UsageProblemError):
        return False
    if canonical_json(manifest.spec) != canonical_json(spec.as_dict()):
        raise MismatchProblemError(f"{folder}: holds another data set than its name says; move it away and run again")
    if (folder / JOURNAL).exists() or not all(is_file(folder / name) for name in (SUMS, *PAGES)):
        return False
    sums = expected_checksums(folder, manifest)
    if (folder / SUMS).read_bytes() != checksums_text(sums).encode():
        return False
    pages_intact = all(file_sha256(folder / name) == sums[name] for name in (MANIFEST, *PAGES))
    return pages_intact and len(_intact(folder, manifest.shards)) == len(manifest.shards)


def intact_shards(folder: Path) -> dict[str, ShardInfo]:
    """Return the shards of an unfinished or damaged data set that can be reused: file name → shard.

    Files are compared with the SHA-256 in the manifest or the journal. None is opened as HDF5.
    """
    try:
        known = read_manifest(folder).shards
    except (DataProblemError, UsageProblemError):
        known = []
    return {shard.file: shard for shard in _intact(folder, [*known, *read_journal(folder)])}


def _intact(folder: Path, shards: list[ShardInfo]) -> list[ShardInfo]:
    with ThreadPoolExecutor() as pool:
        intact = pool.map(lambda shard: is_intact(folder / shard.file, shard), shards)
        return [shard for shard, good in zip(shards, intact, strict=True) if good]


def is_intact(path: Path, shard: ShardInfo) -> bool:
    """Return whether a file has the size and the SHA-256 of the shard."""
    return is_file(path) and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256


def require_intact(path: Path, shard: ShardInfo) -> None:
    """Raise DataProblemError with the file's name unless the file matches the shard."""
    if wrong := check_file(path):
        raise DataProblemError(f"{path}: the shard is {wrong}; run the same `mnistref generate` again")
    if not is_intact(path, shard):
        raise DataProblemError(f"{path}: damaged (its SHA-256 differs); run the same `mnistref generate` again")
