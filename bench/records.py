"""A run's folder: its configuration, environment, history and result as JSON. Append and read, no computing."""

import json
import logging
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.computing import Computing
from bench.config import RunConfig
from bench.soundness import contradicted, malformed
from bench.tensorfile import decode, encode
from mnistref.dataset import Manifest
from mnistref.errors import DataProblemError, MismatchProblemError, UsageProblemError
from mnistref.files import write_whole
from mnistref.version import VERSION

log = logging.getLogger("bench")

CONFIG, ENVIRONMENT, HISTORY, RESULT = "config.json", "environment.json", "history.jsonl", "result.json"
WEIGHTS, ANSWERS = "weights.safetensors", "answers.safetensors"
PLACES, REQUEST, INIT = "attn_files", "data_request", "init_run"
"""Keys of config.json that decide nothing, but help to repeat the run: where the user's files lie that `attn` names by
their content; how the data set is made; where the run lies whose weights it starts from. All may have moved."""
ASIDE = (PLACES, REQUEST, INIT)
MANY = 20
"""Runs, of which what is made takes so long that one wants to be told."""
_PACKAGES = ("h5py", "numba", "numpy", "pillow", "torch", "torchvision", "triton")


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        write_whole(path, f"{text}\n".encode())
    except UnicodeEncodeError:  # a path that is not UTF-8
        write_whole(path, f"{json.dumps(value, indent=1, allow_nan=False)}\n".encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataProblemError(f"{path}: not JSON ({error}); delete the run and start it again") from error


def parted(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json holds → the configuration, and what stands `ASIDE` of it."""
    aside = {key: value for key, value in content.items() if key in ASIDE}
    return {key: value for key, value in content.items() if key not in ASIDE}, aside


def begin(run: Path, config: dict[str, Any], computing: Computing, resume: bool, processes: int = 1) -> None:
    """Make or enter a run's folder; unless resuming, empty it. One of another configuration is a mismatch."""
    path = run / CONFIG
    config = json.loads(json.dumps(config))
    if path.is_file() and parted(read_json(path))[0] != parted(config)[0]:
        raise MismatchProblemError(f"{path}: the run was made with another configuration; move it away and run again")
    write_json(path, config)
    write_json(run / ENVIRONMENT, environment(computing) | {"processes": processes})
    (run / RESULT).unlink(missing_ok=True)
    if not resume:
        (run / HISTORY).unlink(missing_ok=True)
        for file in (run / "checkpoint").glob("*"):
            file.unlink()


def append_history(run: Path, record: dict[str, Any]) -> None:
    with open(run / HISTORY, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def trim_history(run: Path, epochs: int) -> None:
    """Keep the lines of the first epochs: one may have been written after the last checkpoint."""
    path = run / HISTORY
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_whole(path, "".join(lines[:epochs]).encode())


def result(
    config: RunConfig, manifest: Manifest, computing: Computing, seconds: float, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """result.json: what was run on what, what came of it, and where."""
    note = manifest.variant.note
    return {
        "status": outcome["status"],
        "attn": config.attn,
        "variant": config.variant,
        **({"note": note} if note else {}),
        "seed": config.seed,
        "recipe": config.training,
        "queries": config.queries,
        "dataset": {
            "spec_id": manifest.spec_id,
            "digits": manifest.digits.name,
            "backgrounds": manifest.backgrounds.name if manifest.backgrounds else None,
        },
        **{key: value for key, value in outcome.items() if key != "status"},
        "device": computing.device_name,
        "precision": config.precision,
        "capture": config.capture,
        "seconds": seconds,
        "bench_version": VERSION,
    }


def read_result(run: Path) -> dict[str, Any] | None:
    """result.json of a run, or None where there is none; a data error where it is not one."""
    path = run / RESULT
    if not path.is_file():
        return None
    result = read_json(path)
    wrong = malformed(result)
    if wrong:
        raise DataProblemError(f"{path}: damaged ({', '.join(wrong[:3])} missing or wrong); run the same command again")
    return result


def write_answers(run: Path, answers: Mapping[str, torch.Tensor]) -> None:
    """What came of every test question, see `bench.evaluate.Tested`."""
    write_whole(run / ANSWERS, encode(answers))


def read_answers(run: Path) -> dict[str, np.ndarray] | None:
    """What `write_answers` wrote, or None where there is none, as of runs of early versions."""
    path = run / ANSWERS
    if not path.is_file():
        return None
    answers = {name: tensor.numpy() for name, tensor in decode(path.read_bytes(), str(path)).items()}
    if "right" not in answers or len({array.shape for array in answers.values()}) != 1:
        raise DataProblemError(f"{path}: not the answers of a test; delete the run and start it again")
    return answers


def is_finished(run: Path) -> bool:
    """Whether a run ended well and has kept its result, answers that agree with it, and weights."""
    try:
        result, answers = read_result(run), read_answers(run)
    except DataProblemError:
        return False
    sound = result is not None and result["status"] == "ok" and not contradicted(result, answers)
    return sound and (run / WEIGHTS).is_file()


def runs_of(folder: Path) -> Path:
    """The folder itself, or the `runs` in it, as a board that is kept and a root of data have."""
    inner = folder / "runs"
    return inner if inner.is_dir() and not _runs_in(folder) else folder


def _runs_in(folder: Path) -> list[Path]:
    return sorted({path.parent for name in (CONFIG, RESULT) for path in Path(folder).glob(f"*/{name}")})


def results(runs: Path) -> Iterator[dict[str, Any]]:
    """The result of every run below a folder, in the order of the names, with what `bench.leaderboard` takes beside it.

    `run` is the folder's name; `answers` as in `read_answers`; `config`, `request` and `init_run` say how to do it
    again, `hardware` what did it, `commit` with which code. Of a run without a result, or with a damaged one, what its
    configuration tells, with the status unfinished or damaged.
    """
    found = _runs_in(runs)
    if len(found) >= MANY:
        log.info("%s: %d runs, which may take a minute …", runs, len(found))
    for run in found:
        try:
            result, status = read_result(run), "unfinished"
        except DataProblemError as error:
            log.warning("%s", error)
            result, status = None, "damaged"
        beside = _beside(run)
        if result and (wrong := contradicted(result, beside["answers"])):
            log.warning("%s: %s does not follow from its answers; run it again", run / RESULT, ", ".join(wrong[:3]))
            result, status = None, "damaged"
        try:
            yield {**(result or {**_from_config(run), "status": status}), **beside, "run": run.name}
        except (DataProblemError, OSError, KeyError, TypeError) as error:
            log.warning("%s: not the record of a run (%s); left out", run, error)


def wanted_results(runs: Path, variant: str | None = None) -> list[dict[str, Any]]:
    """The `results`, or those of one variant; a usage error where there are none."""
    wanted = [result for result in results(runs) if variant in (None, result["variant"])]
    if not wanted:
        of_variant = f" of {variant}" if variant else ""
        below = [str(folder) for folder in sorted(runs.glob("*")) if _runs_in(runs_of(folder))]
        instead = f"give --runs {' or '.join(below)}" if below else "make one with `bench run`, or give --runs"
        raise UsageProblemError(f"{runs}: no runs{of_variant} here; {instead}")
    return wanted


def _beside(run: Path) -> dict[str, Any]:
    """What a run's folder holds beside its result; what is damaged is left out, and said."""
    found: dict[str, Any] = {"answers": None}
    try:
        found["answers"] = read_answers(run)
        if (run / CONFIG).is_file():
            content, aside = parted(read_json(run / CONFIG))
            init = aside.get(INIT)
            again = {"config": RunConfig.from_dict(content), "request": aside.get(REQUEST)}
            found |= again | {"init_run": Path(init).name if init else None}
        if (run / ENVIRONMENT).is_file():
            environment = read_json(run / ENVIRONMENT)
            found |= {"hardware": _hardware(environment), "commit": environment.get("git")}
    except (DataProblemError, OSError, KeyError, TypeError) as error:
        damaged = error if isinstance(error, DataProblemError) else f"{run}: its records are damaged ({error!r})"
        log.warning("%s", damaged)
    return found


def _hardware(environment: Mapping[str, Any]) -> str:
    """The GPU, or the processor and how much of it."""
    if environment["device"] != "cpu":
        return str(environment["device"])
    processor, threads = environment.get("processor") or "cpu", environment.get("threads")
    many = f"{environment['processes']} processes of " if environment.get("processes", 1) != 1 else ""
    return f"{processor}, {many}{threads} thread{'s' * (threads != 1)}" if threads else str(processor)


def _from_config(run: Path) -> dict[str, Any]:
    config, environment = read_json(run / CONFIG), read_json(run / ENVIRONMENT)
    return {
        **{key: config[key] for key in ("attn", "variant", "seed", "queries", "precision")},
        "recipe": RunConfig.from_dict(parted(config)[0]).training,
        "dataset": {"spec_id": config["dataset"].removeprefix(f"{config['variant']}-")},
        "device": environment["device"],
        "bench_version": environment["bench"],
    }


def environment(computing: Computing) -> dict[str, Any]:
    """Versions and device: what a reader needs to judge a number, nothing that tells whose machine it was."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "bench": VERSION,
        "git": _git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions,
        "device": computing.device_name,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if computing.device.type == "cuda" else None,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the checkout this file lies in, if it does."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 and tracked.returncode == 0 else None
