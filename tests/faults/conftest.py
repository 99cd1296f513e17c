"""Requests for small data sets with several shards, and the results of undisturbed runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import mnistref
from tests.faults.helpers import FEW, SIZES, content, leftovers, run


@pytest.fixture
def small_shards(monkeypatch):
    """Use shards of 8 images in this process, as `DRIVER` does in new processes."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)


@pytest.fixture(scope="session")
def request_of(idx_folder, photo_folder):
    """Return a function `request_of(root, variant, sizes)` that returns the arguments of `mnistref generate`."""

    def request_of(root: Path, variant: str = "mini", sizes=SIZES) -> list[str]:
        sources = ["--digits", str(idx_folder), "--backgrounds", str(photo_folder)]
        return ["generate", "--variant", variant, "--root", str(root), *sizes, *sources]

    return request_of


@pytest.fixture(scope="session")
def undisturbed(request_of, tmp_path_factory):
    """Return a function `undisturbed(variant)` that returns the folder of an undisturbed run, once per session."""
    made: dict[str, Path] = {}

    def undisturbed(variant: str) -> Path:
        if variant not in made:
            code, out, errors = run(request_of(tmp_path_factory.mktemp(variant), variant))
            assert code == 0, errors
            made[variant] = Path(out.strip())
        return made[variant]

    return undisturbed


@pytest.fixture(scope="session")
def few(request_of, tmp_path_factory) -> Path:
    """Return the folder of a data set of four shards."""
    return Path(run(request_of(tmp_path_factory.mktemp("few"), sizes=FEW))[1].strip())


@pytest.fixture
def completes(request_of, undisturbed, small_shards):
    """Return a function `completes(root, variant)` that runs the command and compares with an undisturbed run."""

    def completes(root: Path, variant: str = "mini") -> None:
        done = CliRunner().invoke(mnistref, request_of(root, variant))
        assert done.exit_code == 0, done.output
        assert content(Path(done.stdout.strip())) == content(undisturbed(variant))
        assert leftovers(root) == []

    return completes
