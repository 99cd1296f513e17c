"""The command `bench show`: its output and exit codes."""

import json
import re
import shutil
from pathlib import Path

import pytest

import cli
from tests.commands import call, run_arguments


def test_show_draws_a_run(mini, root, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    folder = Path(call(cli.bench, *run_arguments(mini, root / "runs", "san")).stdout.strip())
    monkeypatch.chdir(tmp_path)
    # the data set is next to the run, and the picture has the name of the run
    shown = call(cli.bench, "show", folder, "--images", 1)
    assert shown.stdout == f"{folder.name}.png\n"
    assert re.search(r"picture: 1 test image, [01] answers? right\n", shown.stderr)
    assert (tmp_path / shown.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    far = shutil.copytree(folder, tmp_path / "elsewhere" / "run")
    assert call(cli.bench, "show", far, "--images", 1, "-o", "moved.png").stdout == "moved.png\n"  # the run recorded it
    (tmp_path / "moved.png").unlink()
    config = json.loads((far / "config.json").read_text())
    (far / "config.json").write_text(json.dumps(config | {"data_folder": str(tmp_path / "gone" / mini.name)}))
    missing = call(cli.bench, "show", far, code=2).stderr
    assert "give its place with --data or --root" in missing
    assert "mnistref generate --variant mini --seed 0 --train 400" in missing
    for more in (["--data", mini], ["--root", root]):
        drawn = call(cli.bench, "show", far, "-o", "new/a.svg", "--image", 3, "--image", 1, *more)
        assert drawn.stdout == "new/a.svg\n"
        assert re.search(r"picture: 2 test images, [012] answers? right\n", drawn.stderr)
        assert drawn.stderr.count("\n") == 1
    (far / "weights.safetensors").write_bytes(b"damaged")
    for more, code, message in (
        (["--data", mini], 3, "weights.safetensors: "),
        (["--images", 1, "--image", 1], 2, "not both"),
        (["-o", "a.gif"], 2, "ends in .png"),
        (["-o", "/dev/null/a.png"], 5, "/dev/null"),
        (["--samples", 2], 2, "draws no samples"),
        (["--image", 120], 2, "no test image 120"),
        (["--data", tmp_path], 2, "no data set here"),
    ):
        run = far if code == 3 else folder
        result = call(cli.bench, "show", run, *more, code=code)
        assert message in result.stderr
        assert result.stdout == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", f"{folder.name}.png", "new"]
    (far / "result.json").unlink()
    assert "not finished" in call(cli.bench, "show", far, code=3).stderr
    assert "no run here" in call(cli.bench, "show", tmp_path, code=2).stderr
