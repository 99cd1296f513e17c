"""Generate a small data set, and interrupt and resume a run on it: parts of `tests.perf.gpu_session`.

python -m tests.perf.gpu_smoke {data, run} [--tiny]

SESSION_WORK is the folder of the session. SESSION_CUDA is 1 if CUDA is available. SESSION_DIGITS may name a folder of
the MNIST files.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.perf import guard
from tests.perf.gpu_checks import tell
from tests.perf.places import TOP

CLI = [sys.executable, str(TOP / "cli.py")]
SIZES = {False: (6400, 400, 400), True: (64, 20, 20)}


def data(tiny: bool) -> None:
    """Generate the data set, and print its name."""
    tell(lambda: _data(tiny), made="mini" if tiny else "mref")


def _data(tiny: bool) -> dict[str, Any]:
    digits = os.environ.get("SESSION_DIGITS", "mnist5k")
    sizes = [text for pair in zip(("--train", "--val", "--test"), map(str, SIZES[tiny]), strict=True) for text in pair]
    options = ["--variant", "mini" if tiny else "mref", "--root", str(_work()), "--digits", digits, *sizes]
    done = subprocess.run(
        [*CLI, "mnistref", "generate", *options], capture_output=True, stdin=subprocess.DEVNULL, text=True
    )
    sys.stderr.write(done.stderr)
    if done.returncode:
        return {"failed": f"mnistref generate ended with {done.returncode}: {done.stderr.strip()[-300:]}"}
    (_work() / "smoke.json").write_text(json.dumps(done.stdout.strip()))
    return {"data": Path(done.stdout.strip()).name}


def _work() -> Path:
    return Path(os.environ["SESSION_WORK"])


def command(tiny: bool) -> list[str]:
    """Return the command of the run: bf16 and CUDA graphs with CUDA, else the CPU."""
    folder = json.loads((_work() / "smoke.json").read_text())
    how = (
        ["--precision", "bf16", "--capture", "graph"] if os.environ.get("SESSION_CUDA") == "1" else ["--device", "cpu"]
    )
    batch = ["--batch", "8"] if tiny else []
    where = ["--data", folder, "--runs", str(_work() / "smoke")]
    attn = "san" if tiny else "arnn"
    return [*CLI, "bench", "run", "--attn", attn, "--epochs", "1", "--questions", "2", *batch, *how, *where]


def run(tiny: bool) -> None:
    """Print the result of the interrupted run, and of the same command called again."""
    started = command(tiny)
    tell(lambda: _interrupted(started), smoke="interrupted", command=" ".join(started[1:6]))
    tell(lambda: _resumed(started), smoke="resumed")


def _interrupted(started: list[str]) -> dict[str, Any]:
    """Interrupt the run after its first checkpoint; every step saves one, so this is early."""
    process = subprocess.Popen(
        [*started, "--checkpoint-every", "0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        kept = 0.0
        while process.poll() is None and not kept:
            kept = sum(1 for _ in (_work() / "smoke").glob("*/checkpoint/*.json"))
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    finally:
        process.kill()
    sys.stderr.write(said)
    over = any((_work() / "smoke").glob("*/result.json"))
    return {"status": process.returncode, "kept": bool(kept), "already_over": over}


def _resumed(started: list[str]) -> dict[str, Any]:
    done = subprocess.run(started, capture_output=True, stdin=subprocess.DEVNULL, text=True)
    sys.stderr.write(done.stderr)
    found = {"status": done.returncode, "went_on": "resuming after epoch" in done.stderr}
    for path in (_work() / "smoke").glob("*/result.json"):
        result = json.loads(path.read_text())
        kept = ("accuracy", "reason", "capture", "precision", "diagonal_lstm", "train_step_ms", "device", "seconds")
        found |= {"run": result["status"], **{key: result[key] for key in kept if key in result}}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("data", "run"), help="what to do")
    parser.add_argument("--tiny", action="store_true", help="use a smaller data set and network")
    asked = parser.parse_args()
    guard.end_with_the_session()
    {"data": data, "run": run}[asked.part](asked.tiny)


if __name__ == "__main__":
    main()
