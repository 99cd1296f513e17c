"""Files of a data set compared with their recorded sizes and checksums."""

import hashlib

import pytest

from mnistref.common.errors import DataProblemError
from mnistref.storage.integrity import intact_shards, is_intact, require_intact, require_no_folders
from mnistref.storage.journal import append_shard
from mnistref.storage.shards import ShardInfo

CONTENT = b"the bytes of a shard"
SHARD = ShardInfo("val-00000-of-00001.h5", 8, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "0" * 64)


@pytest.fixture
def path(tmp_path):
    (tmp_path / SHARD.file).write_bytes(CONTENT)
    return tmp_path / SHARD.file


def test_intact_file_has_the_recorded_size_and_checksum(path):
    assert is_intact(path, SHARD)
    require_intact(path, SHARD)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"s", b"T" + CONTENT[1:], b""])
def test_changed_file_is_not_intact(content, path):
    path.write_bytes(content)
    assert not is_intact(path, SHARD)
    with pytest.raises(DataProblemError, match=r"val-00000-of-00001\.h5: damaged \(its SHA-256 differs\)"):
        require_intact(path, SHARD)


def test_missing_file_and_folder_are_not_intact(path):
    path.unlink()
    with pytest.raises(DataProblemError, match="the shard is missing; run the same"):
        require_intact(path, SHARD)
    path.mkdir()
    assert not is_intact(path, SHARD)
    with pytest.raises(DataProblemError, match="a folder, which must be moved away"):
        require_no_folders(path.parent, [SHARD.file])


def test_intact_shards_are_the_undamaged_ones_of_the_journal(path):
    other = ShardInfo("test-00000-of-00001.h5", 8, len(CONTENT), SHARD.sha256, "0" * 64)
    (path.parent / other.file).write_bytes(CONTENT[::-1])
    for shard in (SHARD, other):
        append_shard(path.parent, shard)
    assert intact_shards(path.parent) == {SHARD.file: SHARD}
