"""Packs of runs: the limit of their size, and the list of runs left out."""

import random

from tests.perf.packs import Packs, unpack


def test_packs_are_limited_in_size_and_list_the_runs_left_out(tmp_path):
    runs = []
    for number in range(9):
        runs.append(tmp_path / "runs" / f"run-{number}")
        runs[-1].mkdir(parents=True)
        (runs[-1] / "data").write_bytes(random.Random(number).randbytes(1000 if number != 4 else 9000))
    out = tmp_path / "out"
    packs = Packs(out, "some", ["data", "missing"], packs=2, largest=4000)
    packs.add(runs[:2])
    packs.add(runs[:6])
    packs.add(runs)
    assert {path.name for path in out.iterdir()} == {"some-1.tar.xz", "some-2.tar.xz"}
    assert all(path.stat().st_size <= 4000 for path in out.iterdir())
    for pack in out.iterdir():
        assert unpack(pack, tmp_path / "unpacked").endswith("unpacked")
    there = {path.name for path in (tmp_path / "unpacked").iterdir()}
    assert "run-4" in packs.left_out
    assert there | set(packs.left_out) == {run.name for run in runs}
    assert len(there) == 6
    assert "not unpacked" in unpack(runs[0] / "data", tmp_path)
