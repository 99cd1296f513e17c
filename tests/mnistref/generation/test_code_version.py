"""The digest of the code, by which workers compare versions."""

import shutil
from pathlib import Path

from mnistref.generation import code_version


def test_code_digest_depends_on_every_file(tmp_path, monkeypatch):
    shutil.copytree(Path(code_version.__file__).parents[1], tmp_path / "mnistref")
    monkeypatch.setattr(code_version, "__file__", str(tmp_path / "mnistref" / "generation" / "code_version.py"))
    assert f"({code_version._digest()[:12]})" in code_version.CODE
    for name in ("rendering/render.py", "sources/digits.py", "common/version.py", "storage/schema.py"):
        before = code_version._digest()
        with open(tmp_path / "mnistref" / name, "a") as file:
            file.write("\n")
        assert code_version._digest() != before
