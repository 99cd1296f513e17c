"""`dataset.json` and `SHA256SUMS`: what a data set consists of, and whether it is all there."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnistref.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.files import file_sha256, write_whole
from mnistref.journal import JOURNAL, noted
from mnistref.schema import FORMAT_VERSION, SHARD_IMAGES
from mnistref.shards import ShardInfo
from mnistref.spec import COLORS, SPLITS, DatasetSpec, VariantSpec, canonical_json
from mnistref.variants import VARIANTS

MANIFEST, SUMS = "dataset.json", "SHA256SUMS"
PAGES = ("README.md", "croissant.json")
OWN_DIGEST = "manifest_sha256"


@dataclass(frozen=True)
class Source:
    """Where digits or photos came from: a name for people, a digest for programs, and how many there are."""

    name: str
    sha256: str
    count: int


@dataclass(frozen=True)
class Manifest:
    """A finished data set. `photos`: (name, sha256), in the order of the index that `photo` holds."""

    variant: VariantSpec
    spec: Mapping[str, Any]
    digits: Source
    backgrounds: Source | None
    photos: tuple[tuple[str, str], ...]
    splits: Mapping[str, tuple[ShardInfo, ...]]

    @property
    def spec_id(self) -> str:
        return hashlib.sha256(canonical_json(self.spec).encode()).hexdigest()[:12]

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
        return hashlib.sha256("\n".join(shard.content_sha256 for shard in self.shards).encode()).hexdigest()

    def images(self, split: str) -> int:
        return sum(shard.images for shard in self.splits[split])

    def known_split(self, split: str) -> str:
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
            "digits": vars(self.digits),
            "backgrounds": vars(self.backgrounds) if self.backgrounds else None,
            "splits": {
                split: {"images": self.images(split), "shards": [s.as_dict() for s in shards]}
                for split, shards in self.splits.items()
            },
            "photos": [{"name": name, "sha256": sha256} for name, sha256 in self.photos],
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
    texts = {**pages, MANIFEST: manifest.text()}
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    (folder / JOURNAL).unlink(missing_ok=True)
    write_whole(folder / SUMS, sums_text(sums_of(folder, manifest)).encode())


def sums_of(folder: Path, manifest: Manifest) -> dict[str, str]:
    """What SHA256SUMS should hold: of the shards as the manifest says, of the pages as they lie there."""
    sums = {shard.file: shard.sha256 for shard in manifest.shards}
    for name in (MANIFEST, *PAGES):
        if (folder / name).is_file():
            sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return sums


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def sums_text(sums: Mapping[str, str]) -> str:
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
    """The manifest of a finished data set; a usage error where there is none, a data error where it is not sound."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise UsageProblemError(
            f"{folder}: no data set here ({MANIFEST} is missing); make one with `mnistref generate`"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise DataProblemError(
                f"{path}: format version {content['format_version']}, this program reads {FORMAT_VERSION}"
            )
        own = content.pop(OWN_DIGEST)
        sound = own == _digest_of(content)
        manifest = _parsed(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataProblemError(f"{path}: damaged ({type(error).__name__}: {error}); generate the set again") from error
    if not sound:
        raise DataProblemError(f"{path}: damaged (its own digest differs); generate the set again")
    return manifest


def _parsed(content: Mapping[str, Any]) -> Manifest:
    spec = content["spec"]
    law: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in spec["law"].items()
    }
    known = VARIANTS.get(spec["variant"]) or VariantSpec(spec["variant"], "", "", 0, "black")
    splits = {}
    for split, size in spec["sizes"].items():
        shards = tuple(ShardInfo(**shard) for shard in content["splits"][split]["shards"])
        wanted = [(name, images) for name, _, images in shard_names(split, size)]
        if split not in SPLITS or [(shard.file, shard.images) for shard in shards] != wanted:
            raise ValueError(f"the shards of {split} are not those of {size} images")
        splits[split] = shards
    backgrounds = Source(**content["backgrounds"]) if content["backgrounds"] else None
    photos = tuple((photo["name"], photo["sha256"]) for photo in content["photos"])
    return Manifest(replace(known, **law), spec, Source(**content["digits"]), backgrounds, photos, splits)


def is_finished(folder: Path, spec: DatasetSpec) -> bool:
    """Whether the set is there, to the byte. Another spec in the folder is a mismatch."""
    try:
        manifest = read_manifest(folder)
    except (DataProblemError, UsageProblemError):
        return False
    if canonical_json(manifest.spec) != canonical_json(spec.as_dict()):
        raise MismatchProblemError(f"{folder}: holds another data set than its name says; move it away and run again")
    if (folder / JOURNAL).exists() or not all((folder / name).is_file() for name in (SUMS, *PAGES)):
        return False
    sums = sums_text(sums_of(folder, manifest)).encode()
    return (folder / SUMS).read_bytes() == sums and len(_sound(folder, manifest.shards)) == len(manifest.shards)


def sound_shards(folder: Path) -> dict[str, ShardInfo]:
    """The shards of an unfinished or damaged set that need not be made again: file name → what it is.

    Files are known by their SHA-256 in the manifest or the journal; none is opened.
    """
    try:
        known = read_manifest(folder).shards
    except (DataProblemError, UsageProblemError):
        known = []
    return {shard.file: shard for shard in _sound(folder, [*known, *noted(folder)])}


def _sound(folder: Path, shards: list[ShardInfo]) -> list[ShardInfo]:
    with ThreadPoolExecutor() as pool:
        fine = pool.map(lambda shard: is_sound(folder / shard.file, shard), shards)
        return [shard for shard, sound in zip(shards, fine, strict=True) if sound]


def is_sound(path: Path, shard: ShardInfo) -> bool:
    """Whether a file holds the very bytes that the manifest names."""
    return path.is_file() and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256


def require_sound(path: Path, shard: ShardInfo) -> None:
    """A data error that names the file, unless it is sound."""
    if not path.is_file():
        raise DataProblemError(f"{path}: the shard is missing; run the same `mnistref generate` again")
    if not is_sound(path, shard):
        raise DataProblemError(f"{path}: damaged (its SHA-256 differs); run the same `mnistref generate` again")
