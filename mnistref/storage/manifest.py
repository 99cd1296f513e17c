"""`dataset.json` and `SHA256SUMS`: what a data set consists of, and whether it is all there."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnistref.common.atomic_files import check_file, file_sha256, is_file, read_text, write_whole
from mnistref.common.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.spec import COLORS, LAW_VERSION, DatasetSpec, VariantSpec, canonical_json
from mnistref.storage.journal import JOURNAL, read_journal
from mnistref.storage.manifest_schema import DATASET, require_schema
from mnistref.storage.schema import FORMAT_VERSION, SHARD_IMAGES
from mnistref.storage.shards import ShardInfo
from mnistref.variants import VARIANTS

MANIFEST, SUMS = "dataset.json", "SHA256SUMS"
PAGES = ("README.md", "croissant.json")
OWN_DIGEST = "manifest_sha256"


@dataclass(frozen=True)
class Source:
    """Where digits or photos came from: a name for people, a digest for programs, and how many there are.

    `kind`: one of the known sources, or `folder`, whatever that is called. Sets of early versions do not say it.
    """

    name: str
    sha256: str
    count: int
    kind: str | None = None

    @property
    def origin(self) -> str:
        """Which source it is, whatever its name; where that was not recorded the name is all there is."""
        return self.kind or self.name

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Manifest:
    """A finished data set. `photos`: (name, sha256), in the order of the index that `photo` holds.

    `pages`: the SHA-256 of the card and its like; of sets of early versions only SHA256SUMS says it.
    """

    variant: VariantSpec
    spec: Mapping[str, Any]
    digits: Source
    backgrounds: Source | None
    photos: tuple[tuple[str, str], ...]
    splits: Mapping[str, tuple[ShardInfo, ...]]
    pages: Mapping[str, str] | None = None

    @property
    def spec_id(self) -> str:
        return _sha256(canonical_json(self.spec))[:12]

    @property
    def folder_name(self) -> str:
        return f"{self.variant.name}-{self.spec_id}"

    @property
    def shards(self) -> list[ShardInfo]:
        """Of all splits."""
        return [shard for shards in self.splits.values() for shard in shards]

    @property
    def content_sha256(self) -> str:
        """One digest of all images and annotations."""
        return _sha256("\n".join(shard.content_sha256 for shard in self.shards))

    def images(self, split: str) -> int:
        return sum(shard.images for shard in self.splits[split])

    def require_split(self, split: str) -> str:
        """`split`, if the set has it; else a usage error that names those it has."""
        if split not in self.splits:
            note = f" ({self.variant.note})" if self.variant.note else ""
            raise UsageProblemError(f"{self.folder_name} has no {split!r} split{note}: {', '.join(self.splits)}")
        return split

    def as_dict(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "spec_id": self.spec_id,
            "spec": dict(self.spec),
            **({"note": self.variant.note} if self.variant.note else {}),
            "content_sha256": self.content_sha256,
            "colors": {name: list(rgb) for name, rgb in COLORS.items()},
            "digits": self.digits.as_dict(),
            "backgrounds": self.backgrounds.as_dict() if self.backgrounds else None,
            "splits": {
                split: {"images": self.images(split), "shards": [s.as_dict() for s in shards]}
                for split, shards in self.splits.items()
            },
            "photos": [{"name": name, "sha256": sha256} for name, sha256 in self.photos],
            **({"pages": dict(self.pages)} if self.pages else {}),
        }

    def text(self) -> str:
        """The content of dataset.json. Its last entry is the digest of all others, so that damage shows by itself."""
        content = self.as_dict()
        return json.dumps({**content, OWN_DIGEST: _digest_of(content)}, indent=1, ensure_ascii=False) + "\n"


def make_manifest(
    spec: DatasetSpec,
    digits: Source,
    backgrounds: Source | None,
    photos: tuple[tuple[str, str], ...],
    splits: Mapping[str, tuple[ShardInfo, ...]],
) -> Manifest:
    return Manifest(spec.variant, spec.as_dict(), digits, backgrounds, photos, splits)


def write_manifest(folder: Path, manifest: Manifest, pages: Mapping[str, str]) -> None:
    """Write `pages` (the card and its like), the manifest, and last the sums, which say that the set is finished.

    The journal goes once the manifest vouches for the shards, and before anyone takes the set for finished.
    """
    manifest = replace(manifest, pages={name: _sha256(text) for name, text in pages.items()})
    texts = {**pages, MANIFEST: manifest.text()}
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    (folder / JOURNAL).unlink(missing_ok=True)
    write_whole(folder / SUMS, checksums_text(expected_checksums(folder, manifest)).encode())


def expected_checksums(folder: Path, manifest: Manifest) -> dict[str, str]:
    """What SHA256SUMS should hold. Pages that the manifest says nothing of count as they lie there."""
    there = {name: file_sha256(folder / name) for name in PAGES if not manifest.pages and is_file(folder / name)}
    shards = {shard.file: shard.sha256 for shard in manifest.shards}
    return {**shards, **(manifest.pages or there), MANIFEST: _sha256(manifest.text())}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(content: Mapping[str, Any]) -> str:
    return _sha256(canonical_json(content))


def checksums_text(sums: Mapping[str, str]) -> str:
    """The content of SHA256SUMS: readable by `sha256sum -c`, sorted by name."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def shard_names(split: str, images: int) -> list[tuple[str, int, int]]:
    """(file name, first image, images) of every shard of a split."""
    of = -(-images // SHARD_IMAGES)
    return [
        (f"{split}-{k:05d}-of-{of:05d}.h5", k * SHARD_IMAGES, min(SHARD_IMAGES, images - k * SHARD_IMAGES))
        for k in range(of)
    ]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished data set; a usage error where there is none, a data error where it is not sound.

    Raises OSError for what the system refuses.
    """
    path = Path(folder) / MANIFEST
    if (wrong := check_file(path)) == "missing":
        raise UsageProblemError(
            f"{folder}: no data set here ({MANIFEST} is missing); make one with `mnistref generate`"
        )
    if wrong:
        raise DataProblemError(f"{path}: {wrong}; generate the set again")
    try:
        content = json.loads(read_text(path))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        version = content.get("format_version")
        if type(version) is int and version != FORMAT_VERSION:
            raise DataProblemError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}")
        return _parsed(content)
    except (ValueError, RecursionError) as error:
        raise DataProblemError(f"{path}: damaged ({error}); generate the set again") from error


def _parsed(content: dict[str, Any]) -> Manifest:
    """The manifest of the parsed file; a ValueError unless it is in every part what this program would write."""
    if content.pop(OWN_DIGEST, None) != _digest_of(content):
        raise ValueError("its own digest differs")
    require_schema(content, DATASET)
    spec, grounds = content["spec"], content["backgrounds"]
    manifest = Manifest(
        _variant(spec, content.get("note", "")),
        spec,
        Source(**content["digits"]),
        Source(**grounds) if grounds else None,
        tuple((photo["name"], photo["sha256"]) for photo in content["photos"]),
        {split: _shards(content["splits"], split, size) for split, size in spec["sizes"].items()},
        content.get("pages"),
    )
    _require_consistent(manifest)
    if canonical_json(manifest.as_dict()) != canonical_json(content):
        raise ValueError("its parts contradict each other")
    return manifest


def _variant(spec: Mapping[str, Any], note: str) -> VariantSpec:
    """The law that the set was made by. What else is known of a variant holds for its present law only."""
    law: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in spec["law"].items()
    }
    known = VARIANTS.get(spec["variant"])
    if known and spec["law_version"] == LAW_VERSION and known.law() == law:
        return replace(known, note=note)
    return VariantSpec(spec["variant"], "", "none", **law, note=note)


def _shards(splits: Mapping[str, Any], split: str, size: int) -> tuple[ShardInfo, ...]:
    """Those of a split, which must be those that its size says."""
    shards = tuple(ShardInfo(**shard) for shard in splits.get(split, {}).get("shards", ()))
    there = [(shard.file, shard.images) for shard in shards]
    # counted before names are made: a size that nobody has files for may be absurd
    if len(shards) != -(-size // SHARD_IMAGES) or there != [(name, n) for name, _, n in shard_names(split, size)]:
        raise ValueError(f"the shards of {split} are not those of {size} images")
    return shards


def _require_consistent(manifest: Manifest) -> None:
    """What no single value shows. A ValueError where the parts make no sense together."""
    variant, spec, grounds = manifest.variant, manifest.spec, manifest.backgrounds
    if not manifest.splits:
        raise ValueError("it has no splits")
    if any(low > high for low, high in (variant.digits, variant.scales, variant.repeats)):
        raise ValueError("a range of its law is empty")
    if (manifest.digits.sha256, grounds and grounds.sha256) != (spec["digits"], spec["photos"]):
        raise ValueError("its sources are not those of its spec")
    if bool(grounds) != (variant.background == "photo") or len(manifest.photos) != (grounds.count if grounds else 0):
        raise ValueError("its photos are not those of its backgrounds")
    if any(shard.bytes < shard.images * variant.canvas**2 * 3 for shard in manifest.shards):
        raise ValueError("a shard is smaller than its images")


def require_no_folders(folder: Path, shards: Iterable[str]) -> None:
    """A data error where a folder lies in the place of a file, which nothing that is made could replace."""
    names = {*shards, MANIFEST, SUMS, JOURNAL, *PAGES}
    for path in sorted(folder.iterdir()):
        if path.name in names and path.is_dir() and not path.is_symlink():
            raise DataProblemError(f"{path}: {check_file(path)}; then run again")


def is_finished(folder: Path, spec: DatasetSpec) -> bool:
    """Whether the set is there, to the byte. Another spec in the folder is a mismatch."""
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
    pages_sound = all(file_sha256(folder / name) == sums[name] for name in (MANIFEST, *PAGES))
    return pages_sound and len(_intact(folder, manifest.shards)) == len(manifest.shards)


def intact_shards(folder: Path) -> dict[str, ShardInfo]:
    """The shards of an unfinished or damaged set that need not be made again: file name → what it is.

    Files are known by their SHA-256 in the manifest or the journal; none is opened.
    """
    try:
        known = read_manifest(folder).shards
    except (DataProblemError, UsageProblemError):
        known = []
    return {shard.file: shard for shard in _intact(folder, [*known, *read_journal(folder)])}


def _intact(folder: Path, shards: list[ShardInfo]) -> list[ShardInfo]:
    with ThreadPoolExecutor() as pool:
        fine = pool.map(lambda shard: is_intact(folder / shard.file, shard), shards)
        return [shard for shard, sound in zip(shards, fine, strict=True) if sound]


def is_intact(path: Path, shard: ShardInfo) -> bool:
    """Whether a file holds the very bytes that the manifest names."""
    return is_file(path) and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256


def require_intact(path: Path, shard: ShardInfo) -> None:
    """A data error that names the file, unless it is sound."""
    if wrong := check_file(path):
        raise DataProblemError(f"{path}: the shard is {wrong}; run the same `mnistref generate` again")
    if not is_intact(path, shard):
        raise DataProblemError(f"{path}: damaged (its SHA-256 differs); run the same `mnistref generate` again")
