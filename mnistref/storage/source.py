"""The sources of a data set, as its manifest has them. Pure."""

from dataclasses import dataclass

from mnistref.storage.dataset_record import ChoicesRecord, SourceRecord


@dataclass(frozen=True)
class Source:
    """A source of digits or photos: its name, digest and number of items.

    Attributes:
        kind: name of a known source, or `folder` for any folder. Data sets of early versions have None.
    """

    name: str
    sha256: str
    count: int
    kind: str | None = None

    @property
    def origin(self) -> str:
        """The kind of the source, or its name if the kind was not recorded."""
        return self.kind or self.name

    def as_dict(self) -> SourceRecord:
        """Return the JSON object of the source."""
        record: SourceRecord = {"name": self.name, "sha256": self.sha256, "count": self.count}
        if self.kind is not None:
            record["kind"] = self.kind
        return record


@dataclass(frozen=True)
class SourceChoices:
    """How sources were used, if not as usual.

    Attributes:
        skip_bad: photos that could not be used were left out.
        keep_copies: photos that are copies of others in another size or quality were kept in disjoint splits.
        shared_digits: number of digits that are the same pictures as others of a later split.
    """

    skip_bad: bool = False
    keep_copies: bool = False
    shared_digits: int = 0

    def as_dict(self) -> ChoicesRecord:
        """Return the JSON object of the choices, without those that are as usual."""
        record: ChoicesRecord = {}
        if self.skip_bad:
            record["skip_bad"] = True
        if self.keep_copies:
            record["keep_copies"] = True
        if self.shared_digits:
            record["shared_digits"] = self.shared_digits
        return record


AS_USUAL = SourceChoices()
