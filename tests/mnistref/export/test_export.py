"""Exports of all formats: same bytes, complete files, interrupts, and full disks."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from mnistref.common.atomic_files import PARTIAL
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.export import export
from mnistref.generation.generate import Request, generate
from mnistref.storage.schema import FIELDS
from tests.faults.helpers import children
from tests.helpers import TOP
from tests.mnistref.export.comparison import truth


def test_exported_card_declares_the_splits_for_datasets(to, exported, load):
    _, output = exported("mini", to)
    sizes = {split: len(rows) for split, rows in load(str(output)).items()}
    assert sizes == {"train": 60, "val": 20, "test": 30}


@pytest.mark.parametrize("variant", ["mbg", "mini"])
def test_datasets_reads_the_shards_themselves(variant, make, load):
    folder = make(variant)
    files = {split: str(folder / f"{split}-*.h5") for split in ("train", "val", "test")}
    for split, rows in load("hdf5", data_files=files).items():
        wanted = truth(folder, split)
        assert set(rows.features) == set(FIELDS)
        for name in FIELDS:
            np.testing.assert_array_equal(rows.with_format("numpy")[:][name], wanted[name], err_msg=name)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Return a data set whose training split has three shards, enough for two processes."""
    sizes = {"train": 2020, "val": 5, "test": 5}
    return generate(Request("mini", tmp_path_factory.mktemp("sharded"), sizes=sizes, digits="mnist5k"))


def digests(folder) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_export_gives_the_same_bytes_for_any_number_of_processes(to, sharded, tmp_path):
    one, two = (export(sharded, tmp_path / str(n), to, ["val", "test"], workers=n) for n in (1, 2))
    assert digests(one) == digests(two)
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_export_indices_continue_in_the_next_shard(sharded, tmp_path):
    output = export(sharded, tmp_path / "tar", "webdataset", ["train"])
    names = []
    for path in sorted(output.glob("*.tar")):
        with tarfile.open(path) as tar:
            names += [member.name for member in tar]
            assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}
    assert [name for name in names if name.endswith(".json")] == [f"{k:06d}.json" for k in range(2020)]
    output = export(sharded, tmp_path / "png", "png", ["train"])
    lines = [json.loads(line) for line in (output / "train" / "metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == [f"{k:06d}.png" for k in range(2020)]


def test_export_includes_card_and_manifest(to, exported):
    folder, output = exported("mini", to)
    text = (output / "README.md").read_text()
    for word in (f"--to {to}", "no published results", "CC BY-SA 3.0", "`digit_box`", "| val | 20 |"):
        assert word in text
    assert (output / "dataset.json").read_bytes() == (folder / "dataset.json").read_bytes()


def test_export_writes_only_the_requested_splits(make, tmp_path):
    output = export(make("mini"), tmp_path / "some", "webdataset", ["test", "val"])
    assert {path.name[:3] for path in output.glob("*.tar")} == {"val", "tes"}
    text = (output / "README.md").read_text()
    assert "train-" not in text
    assert "--split val --split test" in text


def test_export_names_a_damaged_shard_and_leaves_no_output(to, make, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for path in make("mini").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    bad = folder / "val-00000-of-00001.h5"
    data = bytearray(bad.read_bytes())
    data[-100] ^= 1
    bad.write_bytes(data)
    with pytest.raises(DataProblemError, match=bad.name):
        export(folder, tmp_path / "out", to)
    with pytest.raises(DataProblemError, match=bad.name):
        export(folder, tmp_path / "out", to, workers=2)
    bad.unlink()
    with pytest.raises(DataProblemError, match=f"{bad.name}: the shard is missing"):
        export(folder, tmp_path / "out", to)
    assert list(tmp_path.iterdir()) == [folder]


def test_interrupted_export_leaves_no_output(sharded, tmp_path):
    """As with Ctrl-C, the signal also reaches the workers. The only error line is that of the parent process."""
    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "export", str(sharded), "--to", "png"]
    output = ["-o", str(tmp_path / "out")]
    running = subprocess.Popen([*command, *output], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not any(tmp_path.glob(f"{PARTIAL}*/train/*.png")):
        time.sleep(0.02)
        assert running.poll() is None
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def exporting(sharded, output, to: str = "png", **process) -> subprocess.Popen:
    """Start the command in a new process with two workers, and wait for its first file."""
    code = "import sys; from mnistref.export import export\nif __name__ == '__main__':\n"
    code += "    export(sys.argv[1], sys.argv[2], sys.argv[3], workers=2)"
    command = [sys.executable, "-c", code, str(sharded), str(output), to]
    running = subprocess.Popen(command, cwd=TOP, stderr=subprocess.PIPE, text=True, **process)
    while not any(output.parent.glob(f"{PARTIAL}*/train*")):
        time.sleep(0.02)
        assert running.poll() is None
    return running


def test_leftovers_of_a_killed_export_are_removed_by_the_next_one(sharded, tmp_path):
    """The parent process is killed, and its workers exit. The next export is complete and leaves no other files."""
    to = "webdataset"
    running = exporting(sharded, tmp_path / "out", to)
    workers = children(running.pid)
    running.kill()
    running.communicate()
    assert not (tmp_path / "out").exists()
    while any(Path(f"/proc/{worker}/cmdline").read_bytes() for worker in workers if Path(f"/proc/{worker}").exists()):
        time.sleep(0.02)
    (tmp_path / f"{PARTIAL}out" / "stray").write_text("of a format that wrote other files")
    export(sharded, tmp_path / "out", to)
    assert os.listdir(tmp_path) == ["out"]
    assert digests(tmp_path / "out") == digests(export(sharded, tmp_path / "undisturbed", to))


def test_export_with_a_killed_worker_fails_and_leaves_no_output(sharded, tmp_path):
    running = exporting(sharded, tmp_path / "out")
    os.kill(children(running.pid)[0], signal.SIGKILL)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert errors.splitlines()[-1].startswith(
        "mnistref.common.errors.RunProblemError: a worker process died: killed by SIGKILL"
    )
    assert os.listdir(tmp_path) == []


def test_two_simultaneous_exports_do_not_interfere(sharded, tmp_path):
    running = exporting(sharded, tmp_path / "out")
    with pytest.raises(UsageProblemError, match="out: another export is writing it"):
        export(sharded, tmp_path / "out", "png")
    assert running.wait(120) == 0
    running.stderr.close()
    with pytest.raises(UsageProblemError, match="exists already"):
        export(sharded, tmp_path / "out", "png")
    assert os.listdir(tmp_path) == ["out"]


def test_export_is_synced_before_it_is_renamed(to, make, tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename

    def synced(handle):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def renamed(*paths):
        calls.append("rename")
        rename(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    output = export(make("mini"), tmp_path / "out", to, workers=1)
    assert {path.name for path in output.rglob("*")} <= set(calls[: calls.index("rename")])
    assert calls[-2:] == ["rename", tmp_path.name]


def test_export_to_a_full_disk_names_the_file(to, sharded, tmp_path):
    """A limit of the file size stands for the full disk. The error of the writer does not name the file."""
    few = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); import cli; cli.mnistref()"
    arguments = ["export", str(sharded), "--to", to, "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", few, *arguments], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert re.match(
        rf"error: {tmp_path}/{PARTIAL}out/train-0000[0-2]\S*: .*File too large", done.stderr.splitlines()[-1]
    )
    assert os.listdir(tmp_path) == []


def test_invalid_export_requests_are_usage_errors(make, tmp_path):
    folder = make("mini")
    with pytest.raises(UsageProblemError, match="did you mean 'parquet'"):
        export(folder, tmp_path / "out", "parket")
    with pytest.raises(UsageProblemError, match="has no 'valid' split"):
        export(folder, tmp_path / "out", "png", ["valid"])
    with pytest.raises(UsageProblemError, match="exists already"):
        export(folder, tmp_path, "png")
    with pytest.raises(UsageProblemError, match="lies in the data set"):
        export(folder, folder / "out", "png")
    assert list(tmp_path.iterdir()) == []
