"""Schema of `dataset.json`: types, ranges and known words, checked before the manifest is built. Pure.

A schema is one of:

- a function, which returns whether the value is valid
- a dictionary: exactly these keys; a key that ends with "?" is optional
- a list of one schema: any number of such values
- a tuple of schemas: as many values, in this order
"""

import re
from collections.abc import Callable
from reprlib import repr as shortened
from typing import Any

from mnistref.spec import BACKGROUNDS, COLORS, MAX_DIGITS, MAX_JITTER, POOLS, QUERIES, SPLITS
from mnistref.storage.schema import SHARD_IMAGES

MAX_COUNT = 2**31 - 1
"""Maximum number of images in a split, and of digits or photos in a source: the range of the fields of a shard."""


def integer(low: int, high: int) -> Callable[[Any], bool]:
    """Return a schema for integers from `low` to `high`."""
    return lambda value: type(value) is int and low <= value <= high  # excludes bool


def one_of(*known: Any) -> Callable[[Any], bool]:
    """Return a schema for these values."""
    return lambda value: any(value == word and type(value) is type(word) for word in known)


def text(value: Any) -> bool:
    """Return whether the value is a string that can be encoded as UTF-8. JSON can escape single surrogates."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def sha256(value: Any) -> bool:
    """Return whether the value is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def optional(form: Any) -> Callable[[Any], bool]:
    """Return a schema for None, or a value of this schema."""
    return lambda value: value is None or matches(value, form)


def _word(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[a-z0-9_-]{1,64}", value))


def _scale(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 3


_DIGITS, _SOURCE = (
    integer(1, MAX_DIGITS),
    {"name": text, "kind?": text, "sha256": sha256, "count": integer(1, MAX_COUNT)},
)

LAW = {
    "canvas": integer(1, 2**15 - 1),
    "background": one_of(*BACKGROUNDS),
    "query": one_of(*QUERIES),
    "digits": (_DIGITS, _DIGITS),
    "scales": (_scale, _scale),
    "repeats": (_DIGITS, _DIGITS),
    "distractors": integer(0, 2**15 - 1),
    "jitter": integer(0, MAX_JITTER),
}

SHARD = {
    "file": text,
    "images": integer(1, SHARD_IMAGES),
    "bytes": integer(1, 2**63 - 1),
    "sha256": sha256,
    "content_sha256": sha256,
}

DATASET = {
    "format_version": integer(1, MAX_COUNT),
    "spec_id": text,
    "spec": {
        "law_version": integer(1, MAX_COUNT),
        "variant": _word,
        "law": LAW,
        "seed": integer(0, 2**63 - 1),
        "sizes": {f"{split}?": integer(1, MAX_COUNT) for split in SPLITS},
        "digits": sha256,
        "photos": optional(sha256),
        "pool": one_of(*POOLS),
        "any_digits?": one_of(True),
    },
    "note?": text,
    "content_sha256": sha256,
    "colors": {name: tuple(one_of(part) for part in rgb) for name, rgb in COLORS.items()},
    "digits": _SOURCE,
    "backgrounds": optional(_SOURCE),
    "splits": {f"{split}?": {"images": integer(1, MAX_COUNT), "shards": [SHARD]} for split in SPLITS},
    "photos": [{"name": text, "sha256": sha256}],
    "pages?": {"README.md": sha256, "croissant.json": sha256},
}
"""Everything except the manifest's own digest."""


def matches(value: Any, form: Any) -> bool:
    """Return whether a value matches a schema."""
    try:
        require_schema(value, form)
    except ValueError:
        return False
    return True


def require_schema(value: Any, form: Any, where: str = "") -> None:
    """Raise ValueError with the first place that does not match the schema."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            raise ValueError(f"{where or 'the content'} is {shortened(value)}")
        known = {key.removesuffix("?"): part for key, part in form.items()}
        odd = [key for key in value if key not in known]
        odd += [key for key in form if not key.endswith("?") and key not in value]
        if odd:
            raise ValueError(f"{where and f'{where}.'}{shortened(odd[0])} is missing or unknown")
        for key, part in value.items():
            require_schema(part, known[key], f"{where and f'{where}.'}{key}")
    elif isinstance(form, list | tuple):
        if not isinstance(value, list) or (isinstance(form, tuple) and len(value) != len(form)):
            raise ValueError(f"{where} is {shortened(value)}")
        for k, part in enumerate(value):
            require_schema(part, form[k] if isinstance(form, tuple) else form[0], f"{where}[{k}]")
    elif not form(value):
        raise ValueError(f"{where} is {shortened(value)}")
