"""Types of the content of dataset.json. `mnistref.storage.manifest_schema` checks it."""

from typing import NotRequired, TypedDict

from mnistref.spec_records import SpecRecord
from mnistref.storage.shards import ShardRecord


class SourceRecord(TypedDict):
    """A `Source` as a JSON object."""

    name: str
    sha256: str
    count: int
    kind: NotRequired[str]


class ChoicesRecord(TypedDict, total=False):
    """A `SourceChoices` as a JSON object."""

    skip_bad: bool
    keep_copies: bool
    shared_digits: int


class SplitRecord(TypedDict):
    """The number of images and the shards of a split."""

    images: int
    shards: list[ShardRecord]


class PhotoRecord(TypedDict):
    """The name and the SHA-256 of a photo."""

    name: str
    sha256: str


class DatasetRecord(TypedDict):
    """The content of dataset.json without its own digest, see `Manifest`."""

    format_version: int
    spec_id: str
    spec: SpecRecord
    note: NotRequired[str]
    content_sha256: str
    colors: dict[str, list[int]]
    digits: SourceRecord
    backgrounds: SourceRecord | None
    splits: dict[str, SplitRecord]
    photos: list[PhotoRecord]
    choices: NotRequired[ChoicesRecord]
    pages: NotRequired[dict[str, str]]


class OptionalNote(TypedDict, total=False):
    """The entry of a `DatasetRecord` for variants with a note."""

    note: str


class OptionalChoices(TypedDict, total=False):
    """The entry of a `DatasetRecord` whose sources were not used as usual."""

    choices: ChoicesRecord


class OptionalPages(TypedDict, total=False):
    """The entry of a `DatasetRecord` that early versions omit."""

    pages: dict[str, str]
