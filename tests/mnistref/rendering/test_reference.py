"""The reference renderer draws the scenes of the golden digests."""

import json

import pytest

from mnistref.generation import shard_worker
from tests.golden import GOLDEN, scene_digest


@pytest.mark.parametrize("variant", ["mini", "mbgmulti"])
def test_the_reference_draws_the_same_scenes(variant, root, monkeypatch):
    monkeypatch.setattr(shard_worker, "COMPILED", False)
    assert scene_digest(variant, root / "raw") == json.loads(GOLDEN.read_text(encoding="utf-8"))["scenes"][variant]
