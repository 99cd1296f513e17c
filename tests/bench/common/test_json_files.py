"""JSON files of records."""

import json

import pytest

from bench.common.json_files import parse_json, read_json, write_json
from mnistref.common.errors import DataProblemError


def test_written_json_values_are_read_back(tmp_path):
    value = {"größe": [1, 2.5, None, True], "empty": {}}
    path = tmp_path / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_bytes().endswith(b"}\n")
    assert "größe" in path.read_text(encoding="utf-8")


def test_nan_is_not_written_as_json_and_the_old_file_remains(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"a": 1', b"\xff\xfe", b'"\\ud800"', b"[" * 51 + b"]" * 51],
    ids=["empty", "incomplete", "not UTF-8", "unpaired surrogate", "nested too deeply"],
)
def test_invalid_json_is_a_data_error_that_names_the_file(content, tmp_path):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(DataProblemError, match=r"result\.json: not JSON") as error:
        read_json(path)
    assert "\n" not in str(error.value)


def test_json_may_nest_50_levels():
    assert json.dumps(parse_json("[" * 50 + "]" * 50)) == "[" * 50 + "]" * 50
    for depth in (51, 100_000):
        with pytest.raises(ValueError, match="more than 50 deep"):
            parse_json("[" * depth + "]" * depth)


def test_surrogates_in_json_must_be_paired():
    assert parse_json('"\\ud83d\\ude00"') == "😀"
    with pytest.raises(ValueError, match="surrogates not allowed"):
        parse_json('{"a": ["\\udc00"]}')
