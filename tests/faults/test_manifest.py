"""`dataset.json` with any value changed and digests updated: a data error or a valid data set, never a bug or hang."""

import contextlib
import copy
import hashlib
import json
import shutil
from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cli import mnistref
from mnistref.common.errors import DataProblemError
from mnistref.inspection.statistics import statistics
from mnistref.inspection.verify import verify
from mnistref.metadata.card import pages
from mnistref.spec import canonical_json
from mnistref.storage.manifest import MANIFEST, OWN_DIGEST, PAGES, SUMS, read_manifest
from tests.faults.helpers import is_one_line

NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 9, 10**13, -(10**13), 10**400, 2**31, 0.5, 1e308, -0.0, "", "x", "zz", "ab", "0"),
    *("../../x", "a\nb", "\ud800", "e" * 64, "E" * 64, [], [0], [[]], [1, 2], [9, 9], [9, 1], ["a", "b"], {}, {"a": 1}),
    *({"train": 1}, {"file": "x"}, "black", "photo", "color", "pooled", [None] * 3),
]


@pytest.fixture
def folder(make, tmp_path):
    """Return a copy of a data set with photos, which tests may damage."""
    original = make("mbg")
    return shutil.copytree(original, tmp_path / original.name)


@pytest.fixture
def content(folder) -> dict:
    """Return the manifest of the data set without its digest."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    del content[OWN_DIGEST]
    return content


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write(folder, content: dict, fitted: bool = True) -> None:
    """Write the manifest with its digest. With `fitted`, recompute the values that follow from others."""
    content = copy.deepcopy(content)
    if fitted:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
            content["spec_id"] = digest(canonical_json(content["spec"]))[:12]
            shards = [shard for split in content["splits"].values() for shard in split["shards"]]
            content["content_sha256"] = digest("\n".join(shard["content_sha256"] for shard in shards))
    (folder / MANIFEST).write_text(json.dumps({**content, OWN_DIGEST: digest(canonical_json(content))}))


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value in a document; in a list only the first and the last item."""
    keys: list = list(value) if isinstance(value, dict) else []
    if isinstance(value, list) and value:
        keys = sorted({0, len(value) - 1})
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def put(content: dict, path: tuple, *values: Any) -> dict:
    """Return a copy with another value at a path, or without the value."""
    changed = copy.deepcopy(content)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if isinstance(inner, dict) and not isinstance(path[-1], str):  # a list was replaced by another type
        raise KeyError(path[-1])
    if values:
        inner[path[-1]] = values[0]
    else:
        del inner[path[-1]]
    return changed


def is_read(folder) -> bool:
    """Return whether the data set is accepted. Every reader must succeed or raise a data error."""
    try:
        manifest = read_manifest(folder)
    except DataProblemError:
        return False
    for text in pages(manifest).values():
        text.encode()
    verify(folder)
    with contextlib.suppress(DataProblemError):
        statistics(folder)
    return True


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "not fitted"])
def test_any_value_in_a_manifest_is_a_data_error_or_harmless(fitted, folder, content, rounds):
    """Try every path without its value and with each bad value; the short form tries every fifth case."""
    began, read = monotonic(), set()
    changes = [(path, values) for path in places(content) for values in [(), *((value,) for value in NASTY)]]
    assert len(changes) > 2000
    for path, values in changes[:: max(1, 20 // rounds)]:
        changed = put(content, path, *values)
        write(folder, changed, fitted)
        if is_read(folder) and canonical_json(changed) != canonical_json(content):
            read.add(path)
    assert monotonic() - began < 240
    if not fitted:  # only values that no other value determines may change freely
        words = {(of, key) for of in ("digits", "backgrounds") for key in ("name", "kind")}
        photos = {("photos", k, key) for k in (0, len(content["photos"]) - 1) for key in ("name", "sha256")}
        shards = {path for path in places(content) if path[0] == "splits" and path[-1] in ("bytes", "sha256")}
        assert read <= words | photos | shards | {("note",), ("digits", "count"), ("pages",)} | {
            ("pages", page) for page in PAGES
        }


def test_several_simultaneous_manifest_changes_are_a_data_error_or_harmless(folder, content, rounds):
    every, rng = list(places(content)), np.random.default_rng(0)
    for _ in range(50 * rounds):
        changed = content
        for k in rng.choice(len(every), 3, replace=False):
            with contextlib.suppress(KeyError, TypeError, IndexError):  # an earlier change replaced the container
                changed = put(changed, every[k], NASTY[int(rng.integers(len(NASTY)))])
        write(folder, changed)
        is_read(folder)


TEXTS = ("[" * 200_000, '{"a":' * 200_000, "", "[]", "null", "{}", '{"format_version": 1}', "1" * 5000, "NaN", "\x00")


@pytest.mark.parametrize("text", TEXTS)
def test_invalid_manifest_text_is_a_one_line_error_with_the_path(text, folder):
    (folder / MANIFEST).write_text(text)
    for command in ("verify", "stats"):
        done = CliRunner().invoke(mnistref, [command, str(folder)])
        assert done.exit_code == 3, done.output
        assert is_one_line(done.stderr)
        assert MANIFEST in done.stderr


@pytest.mark.parametrize("size", [10**13, 2**31 - 1, 1])
@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "damaged"])
def test_absurd_sizes_are_refused_quickly(size, fitted, folder, content):
    changed = put(content, ("spec", "sizes", "train"), size)
    if fitted:
        write(folder, changed)
    else:
        (folder / MANIFEST).write_text(json.dumps({**changed, OWN_DIGEST: digest(canonical_json(content))}))
    began = monotonic()
    assert [fault.file for fault in verify(folder)] == [MANIFEST]
    assert monotonic() - began < 5


def test_a_law_of_another_version_is_measured_without_expectations(folder, content):
    """The expectations of the current variant do not apply to an earlier version of its law."""
    for path, value in ((("spec", "law", "jitter"), 11), (("spec", "law_version"), 2), (("spec", "variant"), "zz")):
        write(folder, put(content, path, value))
        laws = {law.law for law in statistics(folder)}
        assert "colours uniform" in laws
        assert not any("ink" in law or law.startswith("scale") for law in laws)


def edit(path, change) -> None:
    """Change a file of a data set, and update SHA256SUMS."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    sums = path.with_name(SUMS)
    digests = [hashlib.sha256(data).hexdigest() for data in (before, path.read_bytes())]
    sums.write_text(sums.read_text().replace(*digests))


@pytest.mark.parametrize("page", PAGES)
def test_edited_page_is_found_despite_matching_sums(page, folder):
    edit(folder / page, lambda data: data.replace(b"MNIST", b"MIST"))
    assert [fault.file for fault in verify(folder)] == [page]


def test_reformatted_manifest_is_found_despite_matching_sums(folder):
    edit(folder / MANIFEST, lambda data: data.replace(b"\n", b"\r\n"))
    assert MANIFEST in {fault.file for fault in verify(folder)}


def test_data_set_of_a_version_without_kinds_and_pages_is_accepted(folder, content, caplog):
    """Pages written by that version are accepted on the basis of SHA256SUMS alone, and a message says so."""
    old = {key: value for key, value in content.items() if key != "pages"}
    old["digits"] = {key: value for key, value in old["digits"].items() if key != "kind"}
    old["backgrounds"] = {key: value for key, value in old["backgrounds"].items() if key != "kind"}
    indented = {**old, OWN_DIGEST: digest(canonical_json(old))}
    edit(folder / MANIFEST, lambda _: (json.dumps(indented, indent=1, ensure_ascii=False) + "\n").encode())
    assert verify(folder) == []
    edit(folder / "README.md", lambda data: data.replace(b"Made by", b"Long ago made by"))
    caplog.set_level("INFO")
    assert verify(folder) == []
    assert "only" not in caplog.text
    assert "README.md: differs from the page that this version writes, but matches SHA256SUMS" in caplog.text
    (folder / "README.md").write_text("x")
    assert [fault.file for fault in verify(folder)] == ["README.md"]
