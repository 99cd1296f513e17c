"""`dataset.json` and `SHA256SUMS`: the content of a data set, and whether it is complete."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from mnistref.common.atomic_files import check_file, file_sha256, is_file, read_text, write_whole
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean
from mnistref.spec import COLORS, LAW_VERSION, DatasetSpec, VariantSpec, canonical_json
from mnistref.spec_records import SpecRecord
from mnistref.storage.dataset_record import (
    DatasetRecord,
    OptionalChoices,
    OptionalNote,
    OptionalPages,
    SplitRecord,
)
from mnistref.storage.journal import JOURNAL
from mnistref.storage.manifest_schema import DATASET, require_schema
from mnistref.storage.schema import FORMAT_VERSION, SHARD_IMAGES
from mnistref.storage.shards import ShardInfo
from mnistref.storage.source import AS_USUAL, Source, SourceChoices
from mnistref.variants import VARIANTS, change_law

MANIFEST, SUMS = "dataset.json", "SHA256SUMS"
PAGES = ("README.md", "croissant.json")
OWN_DIGEST = "manifest_sha256"
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class Manifest:
    """A finished data set.

    Attributes:
        photos: (name, SHA-256) of each photo, in the order of the index in the field `photo`.
        choices: how the sources were used.
        pages: file name → SHA-256 of the card and the other pages; None for early versions, where only SHA256SUMS has
            it.
    """

    variant: VariantSpec
    spec: SpecRecord
    digits: Source
    backgrounds: Source | None
    photos: tuple[tuple[str, str], ...]
    splits: Mapping[str, tuple[ShardInfo, ...]]
    choices: SourceChoices = AS_USUAL
    pages: Mapping[str, str] | None = None

    @property
    def spec_id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the specification."""
        return _sha256(canonical_json(self.spec))[:12]

    @property
    def folder_name(self) -> str:
        """Name of the folder of the data set."""
        return f"{self.variant.name}-{self.spec_id}"

    @property
    def shards(self) -> list[ShardInfo]:
        """The shards of all splits."""
        return [shard for shards in self.splits.values() for shard in shards]

    @property
    def content_sha256(self) -> str:
        """Digest of all images and annotations."""
        return _sha256("\n".join(shard.content_sha256 for shard in self.shards))

    def images(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(shard.images for shard in self.splits[split])

    def require_split(self, split: str) -> None:
        """Raise UsageProblemError with the existing splits unless the data set has this split."""
        if split not in self.splits:
            note = f" ({self.variant.note})" if self.variant.note and not self.variant.trainable else ""
            known = did_you_mean(split, list(self.splits))
            raise UsageProblemError(f"{self.folder_name} has no {split!r} split{note}: {known}")

    def as_dict(self) -> DatasetRecord:
        """Return the content of dataset.json without its own digest."""
        note: OptionalNote = {"note": self.variant.note} if self.variant.note else {}
        choices: OptionalChoices = {"choices": self.choices.as_dict()} if self.choices != AS_USUAL else {}
        pages: OptionalPages = {"pages": dict(self.pages)} if self.pages else {}
        return {
            "format_version": FORMAT_VERSION,
            "spec_id": self.spec_id,
            "spec": self.spec.copy(),
            **note,
            "content_sha256": self.content_sha256,
            "colors": {name: list(rgb) for name, rgb in COLORS.items()},
            "digits": self.digits.as_dict(),
            "backgrounds": self.backgrounds.as_dict() if self.backgrounds else None,
            "splits": {
                split: {"images": self.images(split), "shards": [s.as_dict() for s in shards]}
                for split, shards in self.splits.items()
            },
            "photos": [{"name": name, "sha256": sha256} for name, sha256 in self.photos],
            **choices,
            **pages,
        }

    def text(self) -> str:
        """Return the text of dataset.json. Its last entry is the digest of all others."""
        content = self.as_dict()
        return json.dumps({**content, OWN_DIGEST: _digest_of(content)}, indent=1, ensure_ascii=False) + "\n"


def make_manifest(
    spec: DatasetSpec,
    digits: Source,
    backgrounds: Source | None,
    photos: tuple[tuple[str, str], ...],
    splits: Mapping[str, tuple[ShardInfo, ...]],
    choices: SourceChoices,
) -> Manifest:
    """Return the manifest of a data set whose shards are finished."""
    return Manifest(
        variant=spec.variant,
        spec=spec.as_dict(),
        digits=digits,
        backgrounds=backgrounds,
        photos=photos,
        splits=splits,
        choices=choices,
    )


def write_manifest(folder: Path, manifest: Manifest, pages: Mapping[str, str]) -> None:
    """Write the pages, the manifest and, last, SHA256SUMS, whose existence means that the data set is finished.

    The journal is deleted after the manifest is written and before the data set counts as finished.
    """
    manifest = replace(manifest, pages={name: _sha256(text) for name, text in pages.items()})
    texts = {**pages, MANIFEST: manifest.text()}
    for name, text in texts.items():
        write_whole(folder / name, text.encode())
    (folder / JOURNAL).unlink(missing_ok=True)
    write_whole(folder / SUMS, checksums_text(expected_checksums(folder, manifest)).encode())


def expected_checksums(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Return the content that SHA256SUMS should have: file name → SHA-256.

    Pages without a checksum in the manifest are accepted as they are.
    """
    on_disk = {name: file_sha256(folder / name) for name in PAGES if not manifest.pages and is_file(folder / name)}
    shards = {shard.file: shard.sha256 for shard in manifest.shards}
    return {**shards, **(manifest.pages or on_disk), MANIFEST: _sha256(manifest.text())}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of(content: Mapping[str, object]) -> str:
    return _sha256(canonical_json(content))


def checksums_text(sums: Mapping[str, str]) -> str:
    """Return the text of SHA256SUMS, sorted by name and readable by `sha256sum -c`."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def shard_names(split: str, images: int) -> list[tuple[str, int, int]]:
    """Return (file name, first image, images) of every shard of a split."""
    of = -(-images // SHARD_IMAGES)
    return [
        (f"{split}-{k:05d}-of-{of:05d}.h5", k * SHARD_IMAGES, min(SHARD_IMAGES, images - k * SHARD_IMAGES))
        for k in range(of)
    ]


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished data set.

    Raises:
        UsageProblemError: there is no data set in this folder, or it is an export.
        DataProblemError: the manifest is damaged.
        OSError: the system cannot read the file.
    """
    path = Path(folder) / MANIFEST
    if (wrong := check_file(path)) == "missing":
        raise UsageProblemError(
            f"{folder}: no data set here ({MANIFEST} is missing); make one with `mnistref generate`"
        )
    if wrong:
        raise DataProblemError(f"{path}: {wrong}; generate the data set again")
    try:
        content = json.loads(read_text(path))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        version = content.get("format_version")
        if type(version) is int and version != FORMAT_VERSION:
            raise DataProblemError(f"{path}: format version {version}, this program reads {FORMAT_VERSION}")
        manifest = _parse_manifest(content)
    except (ValueError, RecursionError) as error:
        raise DataProblemError(f"{path}: damaged ({error}); generate the data set again") from error
    _require_no_export(Path(folder), manifest)
    return manifest


def _require_no_export(folder: Path, manifest: Manifest) -> None:
    """Raise UsageProblemError for an export, which has the manifest of its data set, but no shards and no checksums."""
    if not (folder / SUMS).exists() and not any((folder / shard.file).exists() for shard in manifest.shards):
        raise UsageProblemError(
            f"{folder}: no shards here; this is an export of {manifest.folder_name}, or its shards are lost; give the "
            "folder of the data set"
        )


def _as_record(content: dict[str, object]) -> DatasetRecord:
    """Return parsed JSON as a record; raise ValueError unless it matches the schema of dataset.json."""
    require_schema(content, DATASET)
    return cast(DatasetRecord, content)  # the schema has the keys and types of the record


def _parse_manifest(content: dict[str, object]) -> Manifest:
    """Return the manifest of the parsed JSON; raise ValueError unless this program would write the same."""
    if content.pop(OWN_DIGEST, None) != _digest_of(content):
        raise ValueError("its digest differs")
    record = _as_record(content)
    spec, grounds = record["spec"], record["backgrounds"]
    manifest = Manifest(
        variant=_variant(spec, record.get("note", "")),
        spec=spec,
        digits=Source(**record["digits"]),
        backgrounds=Source(**grounds) if grounds else None,
        photos=tuple((photo["name"], photo["sha256"]) for photo in record["photos"]),
        splits={split: _shards(record["splits"], split, size) for split, size in spec["sizes"].items()},
        choices=SourceChoices(**record.get("choices", {})),
        pages=record.get("pages"),
    )
    _require_consistent(manifest)
    if canonical_json(manifest.as_dict()) != canonical_json(content):
        raise ValueError("its parts contradict each other")
    return manifest


def _variant(spec: SpecRecord, note: str) -> VariantSpec:
    """Return the sampling law of the data set, described as the known variant that it is or was changed from.

    See `mnistref.variants.change_law`. Raise ValueError if no image can have this law.
    """
    law = spec["law"]
    try:
        variant = VariantSpec(
            name=spec["variant"],
            summary="",
            paper="none",
            canvas=law["canvas"],
            background=law["background"],
            query=law["query"],
            digits=_range(law["digits"]),
            scales=_range(law["scales"]),
            repeats=_range(law["repeats"]),
            distractors=law["distractors"],
            jitter=law["jitter"],
            note=note,
        )
    except UsageProblemError as error:
        raise ValueError(str(error)) from error
    known = VARIANTS.get(spec["variant"])
    if not known or spec["law_version"] != LAW_VERSION:
        return variant
    try:
        known = change_law(known, variant.scales, variant.digits, variant.canvas, variant.distractors)
    except UsageProblemError:  # a law that this version cannot draw
        return variant
    return replace(known, note=note) if known.law() == variant.law() else variant


def _range(bounds: Sequence[_Number]) -> tuple[_Number, _Number]:
    low, high = bounds
    return low, high


def _shards(splits: Mapping[str, SplitRecord], split: str, size: int) -> tuple[ShardInfo, ...]:
    """Return the shards of a split; raise ValueError unless they match its size."""
    records = splits[split]["shards"] if split in splits else []
    shards = tuple(ShardInfo(**record) for record in records)
    listed = [(shard.file, shard.images) for shard in shards]
    # compare the number first, because a damaged size may need too many names
    if len(shards) != -(-size // SHARD_IMAGES) or listed != [(name, n) for name, _, n in shard_names(split, size)]:
        raise ValueError(f"the shards of {split} do not match its {size} images")
    return shards


def _require_consistent(manifest: Manifest) -> None:
    """Raise ValueError if the parts of the manifest contradict each other."""
    variant, spec, grounds = manifest.variant, manifest.spec, manifest.backgrounds
    if not manifest.splits:
        raise ValueError("it has no splits")
    if (manifest.digits.sha256, grounds and grounds.sha256) != (spec["digits"], spec["photos"]):
        raise ValueError("its sources differ from its spec")
    if bool(grounds) != (variant.background == "photo") or len(manifest.photos) != (grounds.count if grounds else 0):
        raise ValueError("its photos do not match its backgrounds")
    if any(shard.bytes < shard.images * variant.canvas**2 * 3 for shard in manifest.shards):
        raise ValueError("a shard is smaller than its images")
