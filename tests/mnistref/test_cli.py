"""The commands of `mnistref`: what they print and how they end."""

import json
import shutil
from pathlib import Path

import pytest

import cli
from mnistref.export import FORMATS
from mnistref.spec import POOLS
from tests.commands import TINY, call


@pytest.fixture
def generated(root, idx_folder, photo_folder):
    arguments = ["generate", "--variant", "mbg", "--root", root / "cli", *TINY, "--digits", idx_folder]
    return [*arguments, "--backgrounds", photo_folder]


def test_generate_prints_only_the_folder(generated, tmp_path):
    folder = Path(call(cli.mnistref, *generated).stdout.strip())
    assert folder.is_dir()
    assert folder.parent.name == "datasets"
    dry = call(cli.mnistref, *generated, "--seed", "9", "--dry-run")
    assert not Path(dry.stdout.strip()).exists()
    assert "24 images" in dry.stderr
    assert "every byte is accounted for" in call(cli.mnistref, "verify", folder).stdout
    assert json.loads(call(cli.mnistref, "verify", folder, "--json").stdout) == {"ok": True, "faults": []}
    laws = json.loads(call(cli.mnistref, "stats", folder, "--json").stdout)["laws"]
    assert {"split", "law", "expected", "measured", "p", "holds", "shares"} == set(laws[0])
    assert {"of", "value", "expected", "measured"} == set(laws[0]["shares"][0])
    assert "mean ink of a digit" in call(cli.mnistref, "stats", folder).stdout
    sheet = tmp_path / "sheet.png"
    drawn = call(cli.mnistref, "preview", folder, "-o", sheet, "--images", 4, "--split", "val", "--boxes")
    assert drawn.stdout.strip() == str(sheet)
    assert sheet.is_file()


def test_stats_writes_a_plot_on_request(mini, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "laws.png"
    plain = call(cli.mnistref, "stats", mini)
    drawn = call(cli.mnistref, "stats", mini, "--plot", path)
    assert drawn.stdout == plain.stdout  # the table and the note do not change
    assert str(path) in drawn.stderr
    assert path.is_file()
    assert "ends in .png" in call(cli.mnistref, "stats", mini, "--plot", tmp_path / "laws", code=2).stderr


@pytest.mark.parametrize("to", FORMATS)
def test_export_prints_only_the_folder(to, mini, tmp_path):
    pytest.importorskip("pyarrow")
    assert to in call(cli.mnistref, "export", "--help").stdout
    arguments = ["export", mini, "--to", to, "-o", tmp_path / "out", "--split", "val"]
    result = call(cli.mnistref, *arguments)
    assert result.stdout == f"{tmp_path / 'out'}\n"
    assert "no published results" in result.stderr
    assert (tmp_path / "out" / "README.md").is_file()
    assert "exists already" in call(cli.mnistref, *arguments, code=2).stderr
    assert "has no 'vol' split" in call(cli.mnistref, *arguments, "--split", "vol", code=2).stderr
    assert "known: " in call(cli.mnistref, *arguments, "--to", "csv", code=2).stderr


def test_export_of_a_damaged_shard_ends_with_3(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    path = folder / "val-00000-of-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    result = call(cli.mnistref, "export", folder, "--to", "png", "-o", tmp_path / "out", code=3)
    assert path.name in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_verify_names_the_bad_file_and_ends_with_3(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    path = folder / "val-00000-of-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    result = call(cli.mnistref, "verify", folder, code=3)
    assert path.name in result.stdout
    assert path.name in result.stderr
    faults = json.loads(call(cli.mnistref, "verify", folder, "--json", code=3).stdout)["faults"]
    assert [fault["file"] for fault in faults] == [path.name]


def test_verify_advises_to_move_stray_files_and_to_generate_missing_ones(generated, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(call(cli.mnistref, *generated).stdout.strip(), folder)
    (folder / "notes.txt").write_text("mine")
    stray = call(cli.mnistref, "verify", folder, code=3).stderr
    assert "1 bad file: notes.txt; remove what is not part of it, or move it away\n" in stray
    (folder / "README.md").unlink()
    both = call(cli.mnistref, "verify", folder, code=3).stderr
    assert both.endswith("or move it away; run generate again\n")
    (folder / "notes.txt").unlink()
    assert call(cli.mnistref, "verify", folder, code=3).stderr.endswith("1 bad file: README.md; run generate again\n")


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (["--variant", "nosuch"], 2, "unknown variant 'nosuch'"),
        (["--variant", "mbgg"], 2, "did you mean 'mbg'"),
        (["--train", "0"], 2, "0 train images: give 1 or more"),
        (["--test", "-1"], 2, "-1 test images: give 1 or more"),
        (["--train", "99999999999"], 2, "99999999999 train images: give 2,147,483,647 or fewer"),
        (["--train", "many"], 2, "not a valid integer"),
        (["--digits", "nosuch"], 2, "no digit source 'nosuch'"),
        (["--backgrounds", "nosuch"], 2, "no photo source 'nosuch'"),
        (["--pool", "some"], 2, "known: disjoint, pooled"),
        (["--workers", "0"], 2, "workers"),
        (["--nosuch"], 2, "nosuch"),
        (["--root", "/dev/null/root"], 5, "/dev/null/root"),
    ],
)
def test_bad_arguments_are_one_line_errors_and_write_no_file(changes, code, message, generated, tmp_path):
    result = call(cli.mnistref, *generated, "--root", tmp_path / "root", *changes, code=code)
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "root").exists()


def empty_folder(folder: Path, photos: Path) -> str:
    folder.mkdir()
    return "no images here"


def truncated_jpeg(folder: Path, photos: Path) -> str:
    shutil.copytree(photos, folder)
    path = next(folder.rglob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-200])
    return path.name


@pytest.mark.parametrize("harm", [empty_folder, truncated_jpeg])
def test_bad_photos_end_with_3(harm, generated, photo_folder, tmp_path):
    message = harm(tmp_path / "photos", photo_folder)
    arguments = [*generated, "--root", tmp_path / "root", "--backgrounds", tmp_path / "photos"]
    assert message in call(cli.mnistref, *arguments, code=3).stderr
    files = {p.name for p in (tmp_path / "root").rglob("*") if p.is_file() and not p.name.endswith(".lock")}
    assert files <= {"looks.npz"}  # the fingerprints of the photos that can be decoded


def test_a_wrong_mnist_file_ends_with_3(generated, idx_folder, tmp_path):
    shutil.copytree(idx_folder, tmp_path / "raw" / "MNIST" / "raw")
    result = call(cli.mnistref, *generated, "--root", tmp_path, "--digits", "mnist", code=3)
    assert "not the original" in result.stderr
    assert not (tmp_path / "datasets").exists()


def test_other_data_set_under_the_same_name_ends_with_4(generated, tmp_path):
    one, two = (Path(call(cli.mnistref, *generated, "--root", tmp_path, "--seed", s).stdout.strip()) for s in (1, 2))
    shutil.rmtree(one)
    two.rename(one)
    assert "another data set" in call(cli.mnistref, *generated, "--root", tmp_path, "--seed", 1, code=4).stderr


@pytest.mark.parametrize("command", ["verify", "stats", "preview", "export"])
def test_folder_without_a_data_set_ends_with_2(command, tmp_path):
    more = {"preview": ["-o", tmp_path / "x.png"], "export": ["--to", "png", "-o", tmp_path / "x"]}.get(command, [])
    assert "no data set here" in call(cli.mnistref, command, tmp_path, *more, code=2).stderr
    missing = call(cli.mnistref, command, tmp_path / "none", *more, code=2).stderr
    assert missing == f"error: {tmp_path / 'none'}: there is no such folder; check the path, or give one that exists\n"
    (tmp_path / "file").touch()
    file = call(cli.mnistref, command, tmp_path / "file", *more, code=2).stderr
    assert file == f"error: {tmp_path / 'file'}: this is not a folder; give the path of a folder\n"


def test_the_help_lists_every_format_and_pool():
    assert f"--to {'|'.join(FORMATS)}" in call(cli.mnistref, "export", "--help").stdout
    assert f"--pool {'|'.join(POOLS)}" in call(cli.mnistref, "generate", "--help").stdout
