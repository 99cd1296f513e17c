"""What is known of photo files by their digests: which cannot be used, and how they look. Kept in `raw/`.

Each file is decoded for that once, all that is wanted of it in one go.
"""

import io
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import exclusive, kept_where_possible, write_whole
from mnistref.common.errors import DataProblemError
from mnistref.sources.copies import LOOK, look_of, no_look
from mnistref.sources.decode import RULES, opened_draft, opened_photo
from mnistref.sources.thread_pool import Crew

REFUSED, LOOKS = "refused.json", "looks.npz"
LOOK_RULES = f"1 {RULES}"
"""What the look of a file depends on beside the file."""


def examine(paths: Mapping[str, Path], raw: Path, verdicts: bool, looks: bool) -> tuple[set[str], np.ndarray]:
    """Return what is known of files, which are decoded where it is not kept in `raw`.

    Args:
        paths: digest → file.
        verdicts, looks: what is wanted.

    Returns:
        The digests of those that `opened_photo` refuses, and the looks of all others, a `LOOK` each, in the order of
        `paths`. What is not wanted is empty.
    """
    refused = _read_verdicts(raw / REFUSED) if verdicts else {}
    known = _read_looks(raw / LOOKS) if looks else {}
    unknown = [
        sha for sha in paths if (verdicts and sha not in refused) or (looks and _needs_look(sha, refused, known))
    ]
    if unknown:
        found = _examined(
            paths, {sha: (verdicts and sha not in refused, looks and sha not in known) for sha in unknown}
        )
        refused |= {sha: bad for sha, (bad, _) in found.items() if bad is not None}
        known |= {sha: look for sha, (_, look) in found.items() if look is not None}
        with kept_where_possible(), exclusive(raw / ".lock", raw):  # who holds it removes unfinished files of others
            if verdicts:
                _write_verdicts(raw / REFUSED, _read_verdicts(raw / REFUSED) | refused)
            if looks:
                _write_looks(raw / LOOKS, _read_looks(raw / LOOKS) | known)
    bad = {sha for sha in paths if refused.get(sha)}
    rows = [known[sha] for sha in paths if sha not in bad] if looks else []
    return bad, np.array(rows, LOOK)


def _needs_look(sha256: str, refused: Mapping[str, bool], known: Mapping[str, np.ndarray]) -> bool:
    return sha256 not in known and not refused.get(sha256)


Found = tuple[bool | None, np.ndarray | None]
"""Whether a file is refused, and its look; None for what was not asked."""


def _examined(paths: Mapping[str, Path], wanted: Mapping[str, tuple[bool, bool]]) -> dict[str, Found]:
    """Decode files. `wanted`: digest → whether a verdict and a look are asked for."""
    crew = Crew()

    def one(sha256: str) -> Found:
        verdict, look = wanted[sha256]
        bad = _is_bad(paths[sha256], crew) if verdict else None
        return bad, _look(paths[sha256], sha256, crew) if look and not bad else None

    with closing(crew.over(one, list(wanted), "looking at photos")) as found:
        return dict(zip(wanted, found, strict=True))


def _is_bad(path: Path, crew: Crew) -> bool:
    try:
        with opened_photo(path, crew):
            return False
    except DataProblemError:
        return True


def _look(path: Path, sha256: str, crew: Crew) -> np.ndarray:
    try:
        with opened_draft(path, crew) as (photo, size):
            return look_of(photo, size, sha256)
    except DataProblemError:  # said by who uses the photo
        return no_look(sha256)


def _read_verdicts(cache: Path) -> dict[str, bool]:
    """Return digest → refused; nothing where that was by other rules, or the file is damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return dict(kept["refused"]) if kept["rules"] == RULES else {}
    except (OSError, ValueError, KeyError, RecursionError, TypeError):
        return {}


def _write_verdicts(cache: Path, refused: Mapping[str, bool]) -> None:
    text = json.dumps({"rules": RULES, "refused": dict(refused)}, indent=0, sort_keys=True)
    write_whole(cache, text.encode())


def _read_looks(cache: Path) -> dict[str, np.ndarray]:
    """Return digest → look, with the same reserve."""
    try:
        with np.load(cache, allow_pickle=False) as kept:
            looks = kept["looks"] if kept["rules"].item() == LOOK_RULES and kept["looks"].dtype == LOOK else []
    except Exception:  # a damaged zip raises what it likes
        return {}
    return {bytes(look["sha256"]).hex(): look for look in looks}


def _write_looks(cache: Path, looks: Mapping[str, np.ndarray]) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, rules=np.array(LOOK_RULES), looks=np.array([looks[sha] for sha in sorted(looks)], LOOK))
    write_whole(cache, packed.getvalue())
