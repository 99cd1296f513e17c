"""Messages of the schema of dataset.json: the path of the value, the value, and the broken rule."""

from typing import Any

import pytest

from mnistref.spec_records import LawRecord, SpecRecord
from mnistref.storage.dataset_record import DatasetRecord, PhotoRecord, SourceRecord, SplitRecord
from mnistref.storage.manifest_schema import DATASET, LAW, SHA256, SHARD, Nullable, Rule, one_of, require_schema
from mnistref.storage.shards import ShardRecord

SOURCE = {"name": "mnist", "sha256": "0" * 64, "count": 10}
VALID_LAW = {
    "canvas": 48,
    "background": "black",
    "query": "class",
    "digits": [2, 4],
    "scales": [0.5, 1],
    "repeats": [1, 1],
    "distractors": 0,
    "jitter": 10,
}
PART = {"law": LAW, "source": DATASET["backgrounds"], "photos": DATASET["photos"], "sizes": DATASET["spec"]["sizes"]}
VALID: dict[str, Any] = {"law": VALID_LAW, "source": SOURCE, "photos": [], "sizes": {"test": 3}}

BROKEN: list[tuple[str, Any, str]] = [
    ("law", {**VALID_LAW, "canvas": 0}, "law.canvas is 0, must be an integer from 1 to 32767"),
    ("law", {**VALID_LAW, "canvas": True}, "law.canvas is True, must be an integer from 1 to 32767"),
    (
        "law",
        {**VALID_LAW, "background": "x"},
        'law.background is \'x\', must be one of "black", "distractors", "photo"',
    ),
    ("law", {**VALID_LAW, "scales": [0, 1]}, "law.scales[0] is 0, must be a number above 0, at most 8"),
    ("law", {**VALID_LAW, "digits": [2]}, "law.digits is [2], must be a list of 2 values"),
    ("law", {**VALID_LAW, "more": 1}, "law.'more' is an unknown key"),
    ("law", {key: VALID_LAW[key] for key in VALID_LAW if key != "query"}, "law.query is missing"),
    ("law", None, "law is None, must be an object"),
    ("source", 5, "source is 5, must be an object or null"),
    ("source", {**SOURCE, "sha256": "E" * 64}, "must be a SHA-256 in lower-case hexadecimal"),
    ("source", {**SOURCE, "name": "\ud800"}, "source.name is '\\ud800', must be a string of valid Unicode"),
    ("source", {**SOURCE, "kind": None}, "source.kind is None, must be a string of valid Unicode"),
    ("photos", {}, "photos is {}, must be a list"),
    ("sizes", {"test": 0}, "sizes.test is 0, must be an integer from 1 to 2147483647"),
]


@pytest.mark.parametrize(("part", "value", "message"), BROKEN)
def test_schema_message_gives_the_path_and_the_rule(part, value, message):
    with pytest.raises(ValueError, match=r"must be|unknown|missing") as error:
        require_schema({**VALID, part: value}, PART)
    assert message in str(error.value)


def test_valid_values_and_optional_parts_are_accepted():
    require_schema(VALID, PART)
    require_schema({**VALID, "source": None, "sizes": {}}, PART)
    require_schema({**VALID, "source": {**SOURCE, "kind": "mnist"}}, PART)


def test_schema_message_names_the_whole_document_as_content():
    with pytest.raises(ValueError, match=r"^the content is \[\], must be an object$"):
        require_schema([], SHARD)
    with pytest.raises(ValueError, match=r"^file is missing$"):
        require_schema({}, SHARD)


def test_schema_accepts_nullable_and_single_values():
    require_schema(None, Nullable(SHA256))
    with pytest.raises(ValueError, match="is 1, must be a SHA-256 in lower-case hexadecimal or null"):
        require_schema(1, Nullable(SHA256), "photos")
    assert isinstance(one_of(True), Rule)
    with pytest.raises(ValueError, match=r"^any_digits is 1, must be true$"):
        require_schema(1, one_of(True), "any_digits")


@pytest.mark.parametrize(
    ("record", "schema"),
    [
        (DatasetRecord, DATASET),
        (SpecRecord, DATASET["spec"]),
        (LawRecord, LAW),
        (SourceRecord, DATASET["digits"]),
        (SplitRecord, DATASET["splits"]["test?"]),
        (ShardRecord, SHARD),
        (PhotoRecord, DATASET["photos"][0]),
    ],
)
def test_record_types_have_the_keys_of_the_schema(record, schema):
    assert record.__required_keys__ == {key for key in schema if not key.endswith("?")}
    assert record.__optional_keys__ == {key.removesuffix("?") for key in schema if key.endswith("?")}
