"""The same command gives the same bytes, whatever surrounds it. (Other interpreters: `python tests/sameness.py`.)"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnistref.generation import shard_worker
from mnistref.generation.generate import Request
from mnistref.generation.generate import generate as generate_here
from mnistref.spec import LAW_VERSION
from mnistref.variants import VARIANTS
from tests.golden import GOLDEN, scene_digest
from tests.helpers import TOP, digests
from tests.sameness import SHARD_IMAGES, SIZES, content, file_digests, generate, write_sources

PLAIN = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "NPY_DISABLE_CPU_FEATURES": ""}
COUNTS = {name.removeprefix("--"): int(n) for name, n in zip(SIZES[::2], SIZES[1::2], strict=True)}
FEATURES = """
import importlib, json
core = importlib.import_module("numpy._core._multiarray_umath")
on = [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
print(json.dumps([on, sorted(name for name, has in core.__cpu_features__.items() if has)]))
"""
"""What NumPy chooses its code by, on this processor. The names depend on its version."""


def features(disabled: str = "") -> tuple[list[str], set[str]]:
    """→ the dispatched features that are on, and all that are, in a new process."""
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
    code = FEATURES if np.__version__ >= "2" else FEATURES.replace("_core", "core")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    on, every = json.loads(done.stdout)
    return on, set(every)


BASELINE_ONLY = " ".join(features()[0])
AROUND = [  # workers, PYTHONHASHSEED, TZ, LC_ALL, NumPy's disabled features, working directory
    ("1", "1", "Asia/Kathmandu", "C.UTF-8", "", "."),
    ("2", "17", "America/St_Johns", "C", BASELINE_ONLY, "elsewhere"),
    ("3", "random", "UTC", "POSIX", BASELINE_ONLY, "."),
    ("5", "random", "Asia/Kathmandu", "C", "", "elsewhere"),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[str]:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def expected(sources, tmp_path_factory) -> dict[str, dict[str, str]]:
    """Made one shard after the other, in the plainest surroundings."""
    root = tmp_path_factory.mktemp("plain")
    made = {}
    for variant in ("mini", "mbg"):
        folder = generate(sys.executable, root, variant, sources, "--workers", "1", env={**os.environ, **PLAIN})
        made[variant] = {**file_digests(folder), "content": content(folder), "name": folder.name}
    return made


def test_sameness_data_set_has_a_shard_for_each_of_five_workers(expected):
    assert all(sum(name.endswith(".h5") for name in files) >= 5 for files in expected.values())


def test_environments_have_the_settings_that_they_name():
    """A feature by a name that this NumPy does not know stays on, and a locale that is not installed is C."""
    on, every = features()
    if not on:
        pytest.skip("this processor has nothing beyond NumPy's baseline")
    left, fewer = features(BASELINE_ONLY)
    assert left == []
    assert fewer < every
    for _, _, _, name, _, _ in AROUND:
        code = "import locale; locale.setlocale(locale.LC_ALL, '')"
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "LC_ALL": name}, check=True)


@pytest.mark.parametrize(("workers", "hashes", "zone", "locale", "features", "cwd"), AROUND)
def test_environment_does_not_change_the_bytes(
    workers, hashes, zone, locale, features, cwd, sources, expected, tmp_path
):
    (tmp_path / cwd).mkdir(exist_ok=True)
    around = {"PYTHONHASHSEED": hashes, "TZ": zone, "LC_ALL": locale, "NPY_DISABLE_CPU_FEATURES": features}
    process = {"env": {**os.environ, **around}, "cwd": tmp_path / cwd}
    variant = "mini" if cwd == "." else "mbg"
    folder = generate(sys.executable, Path("root"), variant, sources, "--workers", workers, **process)
    assert {**file_digests(folder), "content": content(folder), "name": folder.name} == expected[variant]


@pytest.mark.parametrize(("method", "workers"), [("fork", 5), ("spawn", 2), ("forkserver", 3)])
def test_start_method_does_not_change_the_bytes(method, workers, sources, expected, tmp_path):
    """`fork` is tried in a fresh process: where threads run already, forking is not safe anywhere."""
    code = f"""
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import mnistref.storage.manifest
from mnistref.generation.generate import Request, generate

if __name__ == "__main__":
    mnistref.storage.manifest.SHARD_IMAGES = {SHARD_IMAGES}
    with ProcessPoolExecutor({workers}, mp_context=get_context({method!r})) as executor:
        request = Request("mbg", {str(tmp_path)!r}, 0, {COUNTS!r}, {sources[1]!r}, {sources[3]!r}, any_digits=True)
        print(generate(request, executor=executor))
"""
    (tmp_path / "main.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "main.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {**file_digests(folder), "content": content(folder), "name": folder.name} == expected["mbg"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_scenes_match_the_golden_digests(variant, root):
    """A change here gives sets of an old name another content. `tests/golden.py` says how to make it anew."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["law_version"] == LAW_VERSION
    assert list(golden["scenes"]) == list(VARIANTS)
    assert scene_digest(variant, root / "raw") == golden["scenes"][variant]


@pytest.mark.parametrize("variant", ["mini", "mbgmulti"])
def test_the_reference_draws_the_same_scenes(variant, root, monkeypatch):
    monkeypatch.setattr(shard_worker, "COMPILED", False)
    assert scene_digest(variant, root / "raw") == json.loads(GOLDEN.read_text(encoding="utf-8"))["scenes"][variant]


def test_global_generators_are_neither_used_nor_changed(sources, expected, tmp_path, monkeypatch):
    import random

    import torch

    random.seed(9)
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", SHARD_IMAGES)
    folder = generate_here(Request("mbg", tmp_path, 0, COUNTS, sources[1], sources[3], any_digits=True))
    assert digests(folder) == {k: v for k, v in expected["mbg"].items() if k not in ("content", "name")}
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_generating_imports_no_torch(sources, tmp_path):
    """So that sets can be made where only a checkout's few packages are."""
    code = (
        "import sys; from pathlib import Path; from mnistref.generation.generate import Request, generate\n"
        f"root, sizes = Path({str(tmp_path)!r}), dict(train=2, val=2, test=2)\n"
        f"generate(Request('mini', root, 0, sizes, {sources[1]!r}, any_digits=True))\n"
        "assert not {'torch', 'torchvision', 'pandas', 'distributed'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
