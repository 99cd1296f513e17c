"""Types of laws, specifications and requests as JSON objects."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class LawRecord(TypedDict):
    """The fields of `mnistref.spec.VariantSpec` that determine the content of the images. Ranges are lists in JSON."""

    canvas: int
    background: str
    query: str
    digits: Sequence[int]
    scales: Sequence[float]
    repeats: Sequence[int]
    distractors: int
    jitter: int


class SpecRecord(TypedDict):
    """The JSON object of a `mnistref.spec.DatasetSpec`. Its attributes have the same meaning."""

    law_version: int
    variant: str
    law: LawRecord
    seed: int
    sizes: Mapping[str, int]
    digits: str
    photos: str | None
    pool: str
    any_digits: NotRequired[bool]


class RequestRecord(TypedDict):
    """How a data set is generated again, as a JSON object, see `mnistref.generation.plan.request_of`.

    Attributes:
        sizes: images per split.
        digits, backgrounds: the sources; None if a source was a folder of the user.
        scales, digits_per_image, canvas, distractors: only of a changed law, see `mnistref.variants.change_law`.
    """

    variant: str
    seed: int
    sizes: Mapping[str, int]
    digits: str | None
    backgrounds: str | None
    pool: str
    any_digits: NotRequired[bool]
    skip_bad: NotRequired[bool]
    keep_copies: NotRequired[bool]
    scales: NotRequired[Sequence[float]]
    digits_per_image: NotRequired[Sequence[int]]
    canvas: NotRequired[int]
    distractors: NotRequired[int]
