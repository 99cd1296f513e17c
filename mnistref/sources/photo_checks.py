"""Verdicts and thumbnails of photo files, cached in `raw/` by digest.

A file is decoded as a whole for its verdict, and in a smaller size for its thumbnail.
"""

import io
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import exclusive, ignore_unwritable, write_whole
from mnistref.common.errors import DataProblemError
from mnistref.sources.copies import THUMBNAIL, make_thumbnail
from mnistref.sources.decode import CHECK_VERSION, opened_draft, opened_photo
from mnistref.sources.thread_pool import BoundedThreadPool

REFUSED, THUMBNAILS = "refused.json", "looks.npz"
THUMBNAIL_VERSION = f"1 {CHECK_VERSION}"
"""Version of the thumbnails, with that of the checks. A cached thumbnail of another version is not used."""


def inspect_photo_files(
    paths: Mapping[str, Path], raw: Path, verdicts: bool, thumbnails: bool
) -> tuple[set[str], np.ndarray]:
    """Decode photo files that are not in the cache, and return which are unusable and the thumbnails of the others.

    Args:
        paths: SHA-256 → file.
        raw: the folder that holds the caches.
        verdicts: whether to check which files `opened_photo` refuses.
        thumbnails: whether to compute thumbnails.

    Returns:
        The SHA-256 of the refused files, and one `THUMBNAIL` for each of the others, in the order of `paths`. A part
        that was not requested is empty.

    Raises:
        DataProblemError: a thumbnail is requested of a file that cannot be decoded, and verdicts are not.
    """
    refused = _read_verdicts(raw / REFUSED) if verdicts else {}
    known = _read_thumbnails(raw / THUMBNAILS) if thumbnails else {}
    unknown = [
        sha
        for sha in paths
        if (verdicts and sha not in refused) or (thumbnails and _needs_thumbnail(sha, refused, known))
    ]
    if unknown:
        found = _inspect_files(
            paths, {sha: (verdicts and sha not in refused, thumbnails and sha not in known) for sha in unknown}
        )
        refused |= {sha: bad for sha, (bad, _) in found.items() if bad is not None}
        known |= {sha: thumbnail for sha, (_, thumbnail) in found.items() if thumbnail is not None}
        with (
            ignore_unwritable(),
            exclusive(raw / ".lock", raw),
        ):  # its holder removes unfinished files
            if verdicts:
                _write_verdicts(raw / REFUSED, _read_verdicts(raw / REFUSED) | refused)
            if thumbnails:
                _write_thumbnails(raw / THUMBNAILS, _read_thumbnails(raw / THUMBNAILS) | known)
    bad = {sha for sha in paths if refused.get(sha)}
    rows = [known[sha] for sha in paths if sha not in bad] if thumbnails else []
    return bad, np.array(rows, THUMBNAIL)


def _needs_thumbnail(sha256: str, refused: Mapping[str, bool], known: Mapping[str, np.ndarray]) -> bool:
    return sha256 not in known and not refused.get(sha256)


PhotoCheck = tuple[bool | None, np.ndarray | None]
"""Whether a file is refused, and its thumbnail; None for what was not requested."""


def _inspect_files(paths: Mapping[str, Path], wanted: Mapping[str, tuple[bool, bool]]) -> dict[str, PhotoCheck]:
    """Decode files. `wanted`: digest → whether a verdict and a thumbnail are requested."""
    pool = BoundedThreadPool()

    def one(sha256: str) -> PhotoCheck:
        verdict, thumbnail = wanted[sha256]
        bad = _is_bad(paths[sha256], pool) if verdict else None
        return bad, _thumbnail(paths[sha256], sha256, pool) if thumbnail and not bad else None

    with closing(pool.map(one, list(wanted), "looking at photos")) as found:
        return dict(zip(wanted, found, strict=True))


def _is_bad(path: Path, pool: BoundedThreadPool) -> bool:
    try:
        with opened_photo(path, pool):
            return False
    except DataProblemError:
        return True


def _thumbnail(path: Path, sha256: str, pool: BoundedThreadPool) -> np.ndarray:
    with opened_draft(path, pool) as (photo, size):
        return make_thumbnail(photo, size, sha256)


def _read_verdicts(cache: Path) -> dict[str, bool]:
    """Return digest → refused; empty if the cache is damaged or has another version."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return dict(kept["refused"]) if kept["rules"] == CHECK_VERSION else {}
    except (OSError, ValueError, KeyError, RecursionError, TypeError):
        return {}


def _write_verdicts(cache: Path, refused: Mapping[str, bool]) -> None:
    text = json.dumps({"rules": CHECK_VERSION, "refused": dict(refused)}, indent=0, sort_keys=True)
    write_whole(cache, text.encode())


def _read_thumbnails(cache: Path) -> dict[str, np.ndarray]:
    """Return digest → thumbnail; empty if the cache is damaged or has another version."""
    try:
        with np.load(cache, allow_pickle=False) as kept:
            thumbnails = (
                kept["looks"] if kept["rules"].item() == THUMBNAIL_VERSION and kept["looks"].dtype == THUMBNAIL else []
            )
    except Exception:  # a damaged zip file raises exceptions of any type
        return {}
    decoded = [thumbnail for thumbnail in thumbnails if thumbnail["size"].all()]  # early versions kept empty ones
    return {bytes(thumbnail["sha256"]).hex(): thumbnail for thumbnail in decoded}


def _write_thumbnails(cache: Path, thumbnails: Mapping[str, np.ndarray]) -> None:
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        rules=np.array(THUMBNAIL_VERSION),
        looks=np.array([thumbnails[sha] for sha in sorted(thumbnails)], THUMBNAIL),
    )
    write_whole(cache, packed.getvalue())
