"""Compare data sets that other interpreters and versions generate: `python tests/sameness.py /path/to/python …`.

`python tests/sameness.py --bounds` installs two environments, with the oldest supported and the newest packages.

This interpreter and each other one generate small data sets of every kind. The other interpreters need only click,
filelock, h5py, numpy, pillow and tqdm; numba is optional, torch is not needed. The output has, for each interpreter,
its versions and whether content and file bytes are the same. The exit code is 1 if the content differs.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

import numpy as np
from PIL import Image

TOP = Path(__file__).parent.parent
PACKAGES = ("click", "filelock", "h5py", "numba", "numpy", "pillow", "tqdm")
VARIANTS = ("mini", "mdist", "mbg", "mbginv")
SIZES = ("--train", "12", "--val", "6", "--test", "6")
SHARD_IMAGES = 4
"""Images per shard: small, so that seven shards give each of several workers one."""
COMMAND = f"""
import sys
sys.path.insert(0, {str(TOP)!r})
import mnistref.storage.manifest
if __name__ == "__main__":
    mnistref.storage.manifest.SHARD_IMAGES = {SHARD_IMAGES}
    from cli import mnistref
    mnistref()
"""
VERSIONS = (
    "import sys, h5py, numpy, PIL; from mnistref.common.numba_jit import COMPILED; assert 'torch' not in sys.modules; "
    "print(f'Python {sys.version.split()[0]}, numpy {numpy.__version__}, h5py {h5py.__version__}, "
    "HDF5 {h5py.version.hdf5_version}, pillow {PIL.__version__}, ' + ('numba' if COMPILED else 'no numba'))"
)


def write_sources(folder: Path) -> list[str]:
    """Write random digits and photos as files whose decoding does not vary. Return the options that name them."""
    rng = np.random.Generator(np.random.Philox(key=5))
    (folder / "digits").mkdir(parents=True)
    (folder / "photos").mkdir()
    for part, n in (("train", 240), ("t10k", 80)):
        small = rng.integers(0, 256, (n, 28, 28)) * (rng.random((n, 28, 28)) < 0.2)
        for kind, array in (("images-idx3", small), ("labels-idx1", np.arange(n) % 10)):
            header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / "digits" / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    for k in range(4):
        pixels = rng.integers(0, 256, (90 + 17 * k, 120 - 13 * k, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{k}.png")
    return ["--digits", str(folder / "digits"), "--backgrounds", str(folder / "photos"), "--any-digits"]


def generate(python: str, root: Path, variant: str, sources: list[str], *options: str, **process) -> Path:
    """Run the command in a new process, and return the folder that it prints."""
    call = [python, "-c", COMMAND, "generate", "--variant", variant, "--root", str(root)]
    done = subprocess.run([*call, *SIZES, *sources, *options], capture_output=True, text=True, check=False, **process)
    if done.returncode:
        raise RuntimeError(f"{python}: {done.stderr}")
    return Path(process.get("cwd", "."), done.stdout.strip())


def content(folder: Path) -> str:
    return json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["content_sha256"]


def file_digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def bounds(place: Path) -> list[str]:
    """Install environments with the oldest allowed and with the newest releases. Return their interpreters."""
    wanted = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    newest = [line for line in wanted if line.partition(">=")[0] in PACKAGES]
    pythons = []
    for name, packages in (("oldest", [f"{line.replace('>=', '~=')}.0" for line in newest]), ("newest", newest)):
        venv.create(place / name, with_pip=True)
        pythons.append(str(place / name / "bin" / "python"))
        subprocess.run([pythons[-1], "-m", "pip", "install", "-q", "--only-binary", ":all:", *packages], check=True)
    return pythons


def main(pythons: list[str]) -> int:
    worst, expected = 0, {}
    with tempfile.TemporaryDirectory() as place:
        sources = write_sources(Path(place, "sources"))
        pythons = bounds(Path(place, "bounds")) if pythons == ["--bounds"] else pythons
        for k, python in enumerate([sys.executable, *pythons]):
            done = subprocess.run([python, "-c", VERSIONS], cwd=TOP, capture_output=True, text=True, check=True)
            print(done.stdout.strip())
            for variant in VARIANTS:
                folder = generate(python, Path(place, str(k)), variant, sources)
                found = folder.name, content(folder), file_digests(folder)
                wanted = expected.setdefault(variant, found)
                if same := found[:2] == wanted[:2]:
                    says = "same bytes" if found == wanted else "same content, other file bytes"
                else:
                    says = "OTHER CONTENT"
                worst |= not same
                print(f"  {variant}: {found[1][:16]} {says}")
    return int(worst)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
