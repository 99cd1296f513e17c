"""The journal of completed shards, with damaged lines."""

import shutil

import pytest

from mnistref.storage.journal import JOURNAL, append_shard, read_journal
from mnistref.storage.shards import ShardInfo


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mini-0123").mkdir()
    return tmp_path / "mini-0123"


def shard(k: int) -> ShardInfo:
    return ShardInfo(f"train-{k:05d}-of-00003.h5", 8, 100 + k, f"{k:064x}", f"{k + 9:064x}")


def test_journal_returns_the_recorded_shards(folder):
    assert read_journal(folder) == []
    append_shard(folder, shard(0))
    append_shard(folder, shard(1))
    assert read_journal(folder) == [shard(0), shard(1)]


def test_torn_journal_line_loses_only_that_line(folder):
    append_shard(folder, shard(0))
    append_shard(folder, shard(1))
    whole = (folder / JOURNAL).read_bytes()
    for size in range(len(whole)):
        (folder / JOURNAL).write_bytes(whole[:size])
        append_shard(folder, shard(2))
        kept = read_journal(folder)
        assert kept[-1] == shard(2)
        assert kept[:-1] in ([], [shard(0)])


def test_journal_line_with_a_flipped_bit_is_ignored(folder):
    append_shard(folder, shard(0))
    whole = (folder / JOURNAL).read_bytes()
    for place in range(1, len(whole)):
        (folder / JOURNAL).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_journal(folder) == []


def test_journal_of_another_data_set_is_ignored(folder):
    append_shard(folder, shard(0))
    other = folder.with_name("mini-4567")
    shutil.copytree(folder, other)
    assert read_journal(other) == []
