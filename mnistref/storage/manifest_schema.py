"""Schema of `dataset.json`: types, ranges and known words, checked before the manifest is built. Pure.

A schema is one of:

- a `Rule`, which checks one value
- a dictionary: exactly these keys; a key that ends with "?" is optional
- a list of one schema: any number of such values
- a tuple of schemas: as many values, in this order
- a `Nullable` schema: null, or such a value
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import TypeAlias

from mnistref.spec import (
    BACKGROUNDS,
    COLORS,
    MAX_DIGITS,
    MAX_JITTER,
    MAX_SCALE,
    MAX_STORED,
    POOLS,
    QUERIES,
    SPLITS,
    VARIANT_NAME,
)
from mnistref.storage.schema import SHARD_IMAGES

MAX_COUNT = 2**31 - 1
"""Maximum number of images in a split, and of digits or photos in a source: the range of the fields of a shard."""


@dataclass(frozen=True)
class Rule:
    """Schema of one value: `check` returns whether it is valid, `text` is the rule in words."""

    text: str
    check: Callable[[object], bool]


@dataclass(frozen=True)
class Nullable:
    """Schema of null, or of a value that matches `schema`."""

    schema: "Schema"


Schema: TypeAlias = Rule | Nullable | Mapping[str, "Schema"] | Sequence["Schema"]
"""See this module. Lists and tuples of schemas have different meanings."""


def integer(low: int, high: int) -> Rule:
    """Return the rule for integers from `low` to `high`."""
    text = f"an integer from {low} to {high}"
    return Rule(text, lambda value: type(value) is int and low <= value <= high)  # excludes bool


def one_of(*known: object) -> Rule:
    """Return the rule for these values."""
    text = ("one of " if len(known) > 1 else "") + ", ".join(json.dumps(word) for word in known)
    return Rule(text, lambda value: any(value == word and type(value) is type(word) for word in known))


def pattern(text: str, expression: str) -> Rule:
    """Return the rule for strings that match a regular expression as a whole."""
    return Rule(text, lambda value: isinstance(value, str) and bool(re.fullmatch(expression, value)))


STRING = Rule("a string of valid Unicode", lambda v: isinstance(v, str) and not re.search("[\ud800-\udfff]", v))
"""Strings that can be encoded as UTF-8. JSON can escape single surrogates."""
SHA256 = pattern("a SHA-256 in lower-case hexadecimal", "[0-9a-f]{64}")

_WORD = pattern("1 to 64 of the characters a–z, 0–9, _ and -", VARIANT_NAME)
_SCALE = Rule(
    f"a number above 0, at most {MAX_SCALE}",
    lambda value: isinstance(value, int | float) and value is not True and 0 < value <= MAX_SCALE,
)
_DIGITS, _SOURCE = (
    integer(1, MAX_DIGITS),
    {"name": STRING, "kind?": STRING, "sha256": SHA256, "count": integer(1, MAX_COUNT)},
)

LAW: Schema = {
    "canvas": integer(1, MAX_STORED),
    "background": one_of(*BACKGROUNDS),
    "query": one_of(*QUERIES),
    "digits": (_DIGITS, _DIGITS),
    "scales": (_SCALE, _SCALE),
    "repeats": (_DIGITS, _DIGITS),
    "distractors": integer(0, MAX_STORED),
    "jitter": integer(0, MAX_JITTER),
}

SHARD: Schema = {
    "file": STRING,
    "images": integer(1, SHARD_IMAGES),
    "bytes": integer(1, 2**63 - 1),
    "sha256": SHA256,
    "content_sha256": SHA256,
}

DATASET: Schema = {
    "format_version": integer(1, MAX_COUNT),
    "spec_id": STRING,
    "spec": {
        "law_version": integer(1, MAX_COUNT),
        "variant": _WORD,
        "law": LAW,
        "seed": integer(0, 2**63 - 1),
        "sizes": {f"{split}?": integer(1, MAX_COUNT) for split in SPLITS},
        "digits": SHA256,
        "photos": Nullable(SHA256),
        "pool": one_of(*POOLS),
        "any_digits?": one_of(True),
    },
    "note?": STRING,
    "content_sha256": SHA256,
    "colors": {name: tuple(one_of(part) for part in rgb) for name, rgb in COLORS.items()},
    "digits": _SOURCE,
    "backgrounds": Nullable(_SOURCE),
    "splits": {f"{split}?": {"images": integer(1, MAX_COUNT), "shards": [SHARD]} for split in SPLITS},
    "photos": [{"name": STRING, "sha256": SHA256}],
    "choices?": {"skip_bad?": one_of(True), "keep_copies?": one_of(True), "shared_digits?": integer(1, MAX_COUNT)},
    "pages?": {"README.md": SHA256, "croissant.json": SHA256},
}
"""Schema of dataset.json without `manifest_sha256`, the digest of the rest."""


def require_schema(value: object, schema: Schema, location: str = "") -> None:
    """Raise ValueError if a value does not match a schema.

    Args:
        value: parsed JSON.
        schema: the schema.
        location: place of the value in the document, for the message; empty for the whole document.
    """
    inner = schema.schema if isinstance(schema, Nullable) else schema
    if value is None and isinstance(schema, Nullable):
        return
    if isinstance(inner, dict):
        if not isinstance(value, dict):
            raise _mismatch(value, schema, location)
        known = _match_keys(value, inner, location)
        for key, part in value.items():
            require_schema(part, known[key], _join_location(location, key))
    elif isinstance(inner, list | tuple):
        if not isinstance(value, list) or (isinstance(inner, tuple) and len(value) != len(inner)):
            raise _mismatch(value, schema, location)
        for k, part in enumerate(value):
            require_schema(part, inner[k] if isinstance(inner, tuple) else inner[0], f"{location}[{k}]")
    elif isinstance(inner, Rule) and not inner.check(value):
        raise _mismatch(value, schema, location)


def _match_keys(value: Mapping[str, object], schema: Mapping[str, Schema], location: str) -> dict[str, Schema]:
    """Return key → schema; raise ValueError if a key is unknown or missing."""
    known = {key.removesuffix("?"): part for key, part in schema.items()}
    for key in value:
        if key not in known:
            raise ValueError(f"{_join_location(location, shortened(key))} is an unknown key")
    for key in schema:
        if not key.endswith("?") and key not in value:
            raise ValueError(f"{_join_location(location, key)} is missing")
    return known


def _join_location(location: str, key: str) -> str:
    return f"{location}.{key}" if location else key


def _mismatch(value: object, schema: Schema, location: str) -> ValueError:
    return ValueError(f"{location or 'the content'} is {shortened(value)}, must be {_describe(schema)}")


def _describe(schema: Schema) -> str:
    """Return the rule of a schema in words."""
    if isinstance(schema, Nullable):
        return f"{_describe(schema.schema)} or null"
    if isinstance(schema, Rule):
        return schema.text
    if isinstance(schema, tuple):
        return f"a list of {len(schema)} values"
    return "an object" if isinstance(schema, dict) else "a list"
