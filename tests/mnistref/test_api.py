"""The functions of the package: generate, load, and imports."""

import inspect
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torchvision.transforms import v2

import cli
import mnistref
from bench.config import PRESETS
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import read_manifest
from mnistref.variants import FIRST_STEPS, FIRST_STEPS_SIZES, VARIANTS

SIZES = {"train": 6, "val": 3, "test": 4}


def test_generate_function_equals_the_command(root, idx_folder, photo_folder):
    options = {"digits": idx_folder, "backgrounds": photo_folder, "pool": "pooled", "seed": 3, **SIZES}
    folder = mnistref.generate("mbg", root, workers=1, **options)
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    done = CliRunner().invoke(cli.mnistref, ["generate", "--variant", "mbg", "--root", str(root), *words])
    assert done.stdout.strip() == str(folder)
    assert isinstance(folder, Path)
    assert read_manifest(folder).spec["sizes"] == SIZES


def test_defaults_of_generate_equal_those_of_the_command():
    options = cli.mnistref.commands["generate"].make_context("generate", ["--variant", "mini"]).params
    own = {name: p.default for name, p in inspect.signature(mnistref.generate).parameters.items() if name != "variant"}
    own["root"] = Path(own["root"]).absolute()
    assert {name: str(value) for name, value in own.items()} == {name: str(options[name]) for name in own}
    assert options.keys() - own.keys() == {"variant", "dry_run"}


def test_load_generates_a_variant_that_is_missing(root):
    options = {"digits": "mnist5k", "seed": 8, **SIZES}
    dataset = mnistref.load("mini", split="test", queries="all", root=root, **options)
    assert dataset.folder == mnistref.generate("mini", root, **options).absolute()
    assert (dataset.split, dataset.queries, dataset.variant) == ("test", "all", VARIANTS["mini"])
    again = mnistref.load(str(dataset.folder), "test", "all", transform=v2.ToDtype(torch.float32))
    assert torch.equal(again[0]["image"], dataset[0]["image"].float())


def test_small_variants_use_the_settings_of_the_quick_preset(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("mnistref.api.generate", lambda *a, **k: calls.append((a, k)) or tmp_path)
    quick = PRESETS["quick"]
    for name in FIRST_STEPS:
        with pytest.raises(UsageProblemError, match="no data set"):
            mnistref.load(name, seed=1)
    assert quick.variant in FIRST_STEPS
    assert calls == [((name, "data_cache"), {**quick.sizes, "digits": quick.digits, "seed": 1}) for name in FIRST_STEPS]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("minii", {}, "no variant, and no folder of a data set; did you mean 'mini'"),
        ("no/such/folder", {}, "no variant, and no folder"),
        (".", {}, "no data set here"),
        (Path("mini"), {}, "no variant, and no folder"),
        (".", {"seed": 3}, "seed: only for a variant"),
        ("mini", {"train": 0}, "give 1 or more"),
        ("mini", {"pool": "some"}, "unknown pool 'some'"),
        ("mini", {"seed": -1}, "seed -1"),
    ],
)
def test_load_errors_are_one_line(given, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageProblemError, match=message) as error:
        mnistref.load(given, root=tmp_path, **options)
    assert "\n" not in str(error.value)


def test_a_folder_with_the_name_of_a_variant_needs_a_path(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(make("miniinv"), "mini")
    assert mnistref.load("./mini").variant.name == "miniinv"


def test_numbers_of_numpy_are_those_of_python(root):
    options = {"digits": "mnist5k", "workers": 1}
    folder = mnistref.generate("mini", root, **options, seed=11, **SIZES, scales=(0.5, 0.75), digits_per_image=(2, 3))
    same = {name: np.int64(size) for name, size in SIZES.items()} | {"canvas": np.int64(48), "workers": np.int64(1)}
    laws = {"scales": np.array([0.5, 0.75]), "digits_per_image": np.array([2, 3])}
    assert mnistref.generate("mini", root, **{**options, **same}, seed=np.int64(11), **laws) == folder
    laws = {"scales": (np.float64(0.5), np.float64(0.75)), "digits_per_image": (np.int64(2), 3)}
    assert mnistref.generate("mini", root, **options, seed=11, **SIZES, **laws) == folder


@pytest.mark.parametrize(
    "options", [{"seed": 1.0}, {"seed": True}, {"train": 5.0}, {"test": True}, {"workers": 0}, {"canvas": 48.0}]
)
def test_other_numbers_are_refused_before_anything_is_written(options, tmp_path):
    with pytest.raises(UsageProblemError, match=r"give a whole number|give 1 or more"):
        mnistref.generate("mini", tmp_path / "root", digits="mnist5k", **options)
    assert not (tmp_path / "root").exists()


def test_a_size_of_none_is_the_default_of_load(monkeypatch):
    calls = []
    monkeypatch.setattr("mnistref.api.generate", lambda *a, **k: calls.append(k) or Path("nowhere"))
    mnistref.api.find_data_set("mini", val=None, test=7)
    assert calls == [{"digits": "mnist5k", **FIRST_STEPS_SIZES, "test": 7}]
