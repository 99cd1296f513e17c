"""Tests of the laws of data sets."""

import math
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from mnistref.common.errors import DataProblemError
from mnistref.generation.generate import Request, generate
from mnistref.inspection.statistics import _chi2, statistics
from mnistref.metadata.card import pages
from mnistref.storage.manifest import read_manifest, write_manifest
from mnistref.storage.shards import write_shard
from tests.helpers import reread


@pytest.fixture(scope="module")
def lawful(make):
    """Return a function that generates data sets large enough for tests of their laws."""
    sizes = {"train": 1500, "val": 600, "test": 600}

    def lawful(variant: str):
        return make(variant, sizes={"test": 1500} if variant == "mbgmulti" else sizes, seed=3)

    return lawful


@pytest.mark.parametrize("variant", ["mref", "mbginv", "mbgmulti", "mini"])
def test_generated_data_sets_fulfil_their_laws(variant, lawful):
    laws = statistics(lawful(variant))
    assert [law for law in laws if not law.holds] == []
    assert {law.split for law in laws} == {*read_manifest(lawful(variant)).splits, "all"}
    assert sum(law.p is not None for law in laws) == 3 * len(read_manifest(lawful(variant)).splits)


def skew_colors(arrays):
    arrays.digit_color[(arrays.digit_color == 3) & (np.arange(9) < 2)] = 2


def skew_classes(arrays):
    arrays.digit_class[(arrays.digit_class == 3) & (np.arange(len(arrays.count)) % 3 == 0)[:, None]] = 4


def skew_count(arrays):
    arrays.count[: len(arrays.count) // 4] = 5


def skew_scale(arrays):
    arrays.digit_scale[:, 0] = np.where(arrays.digit_scale[:, 0] > 2, 0.75, arrays.digit_scale[:, 0])


def thin_ink(arrays):
    arrays.instance[:, ::5] = 0


def push_out(arrays):
    arrays.digit_box[0, 0] += 100


def share_photos(arrays):
    arrays.digit_source[arrays.digit_source >= 0] = 7


def replace_shards(folder, written):
    """Replace shards, and update the manifest and the pages."""
    manifest = read_manifest(folder)
    splits = {s: tuple(written.get(shard.file, shard) for shard in shards) for s, shards in manifest.splits.items()}
    manifest = replace(manifest, splits=splits)
    write_manifest(folder, manifest, pages(manifest))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, digits):
    """Return a data set with enough images to test its laws."""
    sizes = {"train": 1500, "val": 1500, "test": 1500}
    return generate(Request("mref", tmp_path_factory.mktemp("unbroken"), sizes=sizes, digits="mnist5k"))


@pytest.mark.parametrize(
    ("harm", "law"),
    [
        (skew_colors, "colours"),
        pytest.param(skew_classes, "classes", marks=pytest.mark.long_form),
        pytest.param(skew_count, "digits in an image", marks=pytest.mark.long_form),
        (skew_scale, "scale 2.5"),
        (thin_ink, "ink"),
        pytest.param(push_out, "inside", marks=pytest.mark.long_form),
        (share_photos, "digits in two splits"),
    ],
)
def test_broken_law_is_detected(harm, law, unbroken, tmp_path):
    """The statistics are those of a data set in which one law is broken."""
    folder = shutil.copytree(unbroken, tmp_path / unbroken.name)
    written = {}
    for path in folder.glob("*-00000-of-00002.h5"):
        arrays = reread(path, 1000, 100)
        harm(arrays)
        written[path.name] = write_shard(path, arrays, folder.name)
    replace_shards(folder, written)
    assert any(law in broken.law for broken in statistics(folder) if not broken.holds)


def without_ink(arrays):
    arrays.instance[:] = 0


def test_invisible_digits_break_a_law_in_the_smallest_data_set(make, tmp_path):
    folder = make("mref", root=tmp_path, sizes={"train": 3, "val": 3, "test": 3})
    assert all(law.holds for law in statistics(folder) if "ink" in law.law)
    written = {}
    for shard in read_manifest(folder).shards:
        arrays = reread(folder / shard.file, shard.images, 100)
        without_ink(arrays)
        written[shard.file] = write_shard(folder / shard.file, arrays, folder.name)
    replace_shards(folder, written)
    assert [law.holds for law in statistics(folder) if "ink" in law.law] == [False] * 3


def contradict(arrays):
    arrays.digit_color[0] = -1


def leave_out(arrays):
    arrays.digit_class[:] = -1
    arrays.digit_color[:] = -1
    arrays.digit_source[:] = -1


def overflow(arrays):
    arrays.digit_color[0, 0] = 100


@pytest.mark.parametrize("harm", [contradict, leave_out, overflow])
def test_stats_refuses_a_forged_shard_with_matching_digests(harm, make, tmp_path):
    folder = make("mini", root=tmp_path)
    shard = read_manifest(folder).shards[0]
    arrays = reread(folder / shard.file, shard.images, 48)
    harm(arrays)
    replace_shards(folder, {shard.file: write_shard(folder / shard.file, arrays, folder.name)})
    with pytest.raises(DataProblemError, match=shard.file):
        statistics(folder)


@pytest.mark.parametrize("installed", [True, False])
def test_upper_tail_of_chi_squared_without_scipy_too(installed, monkeypatch):
    """For an even number of degrees 2k, the tail at x is exp(−x/2) Σ_{i<k} (x/2)^i / i!."""
    if not installed:
        monkeypatch.setitem(sys.modules, "scipy.special", None)
    for degrees in (2, 8, 30):
        for x in (0.0, 0.7, 9.5, 60.0):
            tail = math.exp(-x / 2) * sum((x / 2) ** i / math.factorial(i) for i in range(degrees // 2))
            assert _chi2(x, degrees) == pytest.approx(tail, rel=1e-9)
    assert _chi2(3.841458820694124, 1) == pytest.approx(0.05, rel=1e-9)
