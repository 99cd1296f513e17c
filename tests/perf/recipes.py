"""Measure how fast recipes reach a validation accuracy. Only validation data is used.

    python -m tests.perf.recipes [--attn san,pan,pan-ctx,arnn] [--variant mref] [--tried fast,one,lr=0.006]
        [--images 30000] [--epochs 3] [--every 200] [--targets 80,90,95] [--init RUN] [--fade 0.5] [--seed 0]
        [--precision bf16] [--data FOLDER] [--digits mnist5k] [--backgrounds builtin] [--root DIR] [--runs FOLDER]
        [--out FOLDER]
    python -m tests.perf.recipes --figure curves.png --out FOLDER
    python -m tests.perf.recipes --minutes 5,10,20,40,80 --out FOLDER

Each mechanism is trained with each recipe, one run after the other. Every --every steps, its validation accuracy is
measured with one question per image. The output has the interpolated steps and processor seconds to each target,
without the time of validation, and the accuracies in between. A recipe is "fast", "one" (fast as in version 0.1, with
one question per image), or fast with changes, such as "lr=0.006+questions=3". --init is a run of the same mechanism
that gives the initial weights. --runs stores the runs, as `bench run` does, and their curves, so the same command
resumes after an interruption. --out stores each curve as a file, from which --figure draws accuracy over time (fp32
only), and --minutes prints the accuracy of all curves after the same processor time. A curve that ends earlier counts
with its last value, in brackets. In the middle of a curve the learning rate is still high: a run that is planned for
this time would be better there.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from bench.attention import canonical_names
from bench.compute import ComputeConfig, resolve_compute
from bench.config import FIRST_RECIPES, PRECISIONS, RECIPES, Recipe
from bench.data.loading import load_split
from bench.data.split import Split
from bench.evaluation.evaluate import accuracy
from bench.runs.experiment import ExecutionOptions, RunSettings, configure, run
from bench.training.progress import ProgressOptions
from bench.training.trainer import Trainer
from mnistref.common.errors import UsageProblemError
from mnistref.common.text_table import table
from mnistref.dataset import read_manifest
from mnistref.generation.generate import Request, generate
from mnistref.variants import VARIANTS

ASKED = 2_000
"""Number of validation questions: the first ones."""
KINDS = {
    "lr": float,
    "batch": int,
    "epochs": int,
    "dropout": float,
    "questions": lambda text: int(text) if text.isdecimal() else text,
}


def recipe_of(name: str, epochs: int, fade: float) -> Recipe:
    """Return the recipe of this name, or fast with changes such as "lr=0.006+batch=64".

    Raises:
        UsageProblemError: there is no such recipe, or a change has another form.
    """
    known = {**RECIPES, "one": FIRST_RECIPES["fast"]}
    if name in known:
        return replace(known[name], epochs=epochs, fade=fade)
    try:
        changes = {key: KINDS[key](value) for key, value in (part.split("=") for part in name.split("+"))}
    except (KeyError, ValueError):
        forms = " ".join(f"{key}=…" for key in KINDS)
        raise UsageProblemError(
            f"--tried {name}: give one of {' '.join(known)}, or changes joined by +: {forms}"
        ) from None
    return replace(RECIPES["fast"], **{"epochs": epochs, "fade": fade, **changes})


class Curve:
    """Validation accuracy over steps and processor seconds, recorded during a training.

    The seconds are those of the steps, without validation and checkpoints. The first step of an epoch, which waits for
    data, and steps of unknown time, such as those before a resumption, count as the mean of the others.

    Args:
        val: The validation questions.
        every: Steps between two records. The last step of a training is recorded too.
        saved: File of the records. A resumed run continues the records in it.
    """

    def __init__(self, val: Split, every: int, saved: Path) -> None:
        self.records: list[dict] = json.loads(saved.read_text()) if saved.exists() else []
        self._val, self._every, self._saved = val, every, saved
        self._spent, self._timed = 0.0, 0
        self._since: float | None = None

    def look(self, trainer: Trainer) -> None:
        """Count the step, and measure the accuracy if it is due."""
        first = trainer.steps_done % trainer.steps_per_epoch == 1
        if self._since is None:
            self._resume(trainer.steps_done)
        elif not first:
            self._spent += time.process_time() - self._since
            self._timed += 1
        ends = trainer.steps_done % trainer.steps_per_epoch == 0 and trainer.epoch + 1 == trainer.recipe.epochs
        if trainer.steps_done % self._every == 0 or ends:
            with trainer.computing.autocast():
                accurate = accuracy(trainer.model, self._val)
            seconds = self._spent / self._timed * trainer.steps_done if self._timed else float("nan")
            self.records.append({"steps": trainer.steps_done, "seconds": seconds, "val_accuracy": accurate})
            self._saved.write_text(json.dumps(self.records) + "\n")
            trainer.model.train()
        self._since = time.process_time()

    def _resume(self, done: int) -> None:
        """Continue with the records of earlier steps. A run that starts again has none."""
        self.records = [record for record in self.records if record["steps"] < done]
        if self.records:
            self._spent, self._timed = self.records[-1]["seconds"], self.records[-1]["steps"]


def curve(
    attn: str,
    folder: Path,
    recipe: Recipe,
    every: int,
    computing: ComputeConfig,
    runs: Path,
    seed: int,
    init: Path | None,
) -> list[dict]:
    """Train a run, and return the steps, processor seconds and validation accuracy of each record."""
    config = configure(folder, attn, seed, RunSettings(recipe, "one", computing, init=init))
    runs.mkdir(parents=True, exist_ok=True)
    saved = runs / f"{config.run_id}.curve.json"
    kept = Curve(first(load_split(folder, "val", "one", computing.device), ASKED), every, saved)
    done = run(config, folder, runs, init=init, options=ExecutionOptions(progress=ProgressOptions(on_step=kept.look)))
    if not kept.records:
        raise SystemExit(f"{done}: this run is finished and has no curve; give another --runs")
    return kept.records


def first(split: Split, questions: int) -> Split:
    """Return the first questions of a split."""
    names = ("image", "slot", "query", "label")
    return replace(split, **{name: getattr(split, name)[:questions] for name in names})


def reached(records: list[dict], target: float) -> str:
    """Return the interpolated steps and seconds at which the accuracy first reaches the target, as text."""
    before = {"steps": 0, "seconds": 0.0, "val_accuracy": 0.0}
    for record in records:
        if record["val_accuracy"] >= target:
            part = (target - before["val_accuracy"]) / (record["val_accuracy"] - before["val_accuracy"])
            steps, seconds = (before[k] + part * (record[k] - before[k]) for k in ("steps", "seconds"))
            return f"{steps:.0f} steps, {seconds:.0f} s"
        before = record
    return "–"


def after(records: list[dict], minutes: float) -> str:
    """Return the interpolated accuracy after processor minutes, in percent; in brackets, if the curve ends earlier."""
    seconds = [0.0, *(record["seconds"] for record in records)]
    if seconds[-1] < 60 * minutes:
        return f"({100 * records[-1]['val_accuracy']:.0f})"
    known = [(at, 100 * record["val_accuracy"]) for at, record in zip(seconds[1:], records, strict=True)]
    if 60 * minutes < known[0][0]:
        return "–"
    return f"{np.interp(60 * minutes, *zip(*known, strict=True)):.0f}"


def equal_times(curves: list[dict], minutes: list[float]) -> str:
    """Return a table with the accuracy of each curve after the same times."""
    rows = [["data set", "attn", "questions", *(f"{at:g} min" for at in minutes)]]
    for curve in sorted(curves, key=lambda curve: list(VARIANTS).index(curve["variant"])):
        kind = str(curve["recipe"].get("questions", "one"))
        rows.append([curve["variant"], named(curve), kind, *(after(curve["curve"], at) for at in minutes)])
    return table(rows)


def named(curve: dict) -> str:
    """Return the mechanism of a curve, and its precision if that is not fp32."""
    precision = curve.get("precision", "fp32")
    name: str = curve["attn"]
    return name if precision == "fp32" else f"{name}, {precision}"


def draw(curves: list[dict], figure: Path) -> None:
    """Draw a panel for each variant and a colour for each mechanism; dashed lines have one question per image.

    Only curves in fp32 are drawn.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    curves = [curve for curve in curves if curve.get("precision", "fp32") == "fp32"]
    variants = [name for name in VARIANTS if name in {curve["variant"] for curve in curves}]
    attns = list(dict.fromkeys(curve["attn"] for curve in curves))
    colors = {attn: colormaps["tab20"](2 * k % 20 + k // 10) for k, attn in enumerate(attns)}  # light ones from 10 on
    drawn = Figure(figsize=(4.2 * len(variants), 4.4), dpi=180, layout="constrained")
    for axes, variant in zip(drawn.subplots(1, len(variants), sharey=True, squeeze=False)[0], variants, strict=True):
        for curve in (curve for curve in curves if curve["variant"] == variant):
            several = curve["recipe"].get("questions", "one") != "one"
            axes.plot(
                [record["seconds"] / 60 for record in curve["curve"]],
                [100 * record["val_accuracy"] for record in curve["curve"]],
                color=colors[curve["attn"]],
                linestyle="-" if several else "--",
            )
        axes.set(title=variant, xlabel="processor minutes of training", xscale="log", ylim=(15, 100))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(alpha=0.3)
    drawn.axes[0].set_ylabel("validation accuracy, %")
    keys = [Line2D([], [], color=colors[attn], linewidth=3, label=attn) for attn in attns]
    styles = {"-": "all questions about an image in a step", "--": "one question"}
    keys += [Line2D([], [], color="0.3", linestyle=style, label=text) for style, text in styles.items()]
    drawn.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    drawn.savefig(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="san,pan,pan-ctx,arnn", help="mechanisms")
    parser.add_argument("--variant", default="mref", help="variant of the data set (mref)")
    parser.add_argument("--tried", default="fast,one,lr=0.0015,lr=0.006,questions=3", help="recipes")
    parser.add_argument("--images", type=int, default=30_000, help="training images (30000)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs (3)")
    parser.add_argument("--every", type=int, default=200, help="steps between two validations (200)")
    parser.add_argument("--targets", default="80,90,95,98", help="accuracies in percent")
    parser.add_argument("--init", type=Path, help="run that gives the initial weights")
    parser.add_argument("--fade", type=float, default=0.0, help="as in bench run (0)")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="as in bench run (fp32)")
    parser.add_argument("--data", type=Path, help="data set (default: one is generated)")
    parser.add_argument("--digits", default="mnist5k", help="digits of the generated data set (mnist5k)")
    parser.add_argument("--backgrounds", default="builtin", help="photos of the generated data set (builtin)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the runs (0)")
    parser.add_argument("--root", type=Path, help="folder for the generated data set (default: temporary)")
    parser.add_argument("--runs", type=Path, help="folder of the runs (default: temporary)")
    parser.add_argument("--out", type=Path, help="folder of the curves")
    parser.add_argument("--figure", type=Path, help="draw the curves of --out to this file, and exit")
    parser.add_argument("--minutes", help="print the curves of --out after these processor minutes, and exit")
    options = parser.parse_args()
    if options.figure or options.minutes:
        curves = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))] if options.out else []
        if not curves:
            parser.error("--figure and --minutes read the curves in --out, and there are none")
        if options.figure:
            if all(curve.get("precision", "fp32") != "fp32" for curve in curves):
                parser.error(f"--figure draws curves in fp32, and {options.out} has none")
            draw(curves, options.figure)
        if options.minutes:
            try:
                print(equal_times(curves, [float(part) for part in options.minutes.split(",")]))
            except ValueError:
                parser.error(f"--minutes {options.minutes}: give numbers, such as 5,10,20")
        return
    try:
        attns = canonical_names(options.attn)
        recipes = {name: recipe_of(name, options.epochs, options.fade) for name in options.tried.split(",")}
        targets = [int(part) for part in options.targets.split(",")]
        computing = resolve_compute(precision=options.precision)
    except (UsageProblemError, ValueError) as error:
        parser.error(str(error))
    rows = [["attn", "recipe", *(f"to {target} %" for target in targets), "best", "on the way, %"]]
    with tempfile.TemporaryDirectory() as temporary:
        sizes = {"train": options.images, "val": 2_000, "test": 1}
        root, runs = options.root or Path(temporary), options.runs or Path(temporary) / "runs"
        asked = Request(options.variant, root, 0, sizes, options.digits, options.backgrounds)
        folder = options.data or generate(asked)
        print(f"{folder.name} on {computing.device_name}, {torch.get_num_threads()} threads", flush=True)
        for attn in attns:
            for name, recipe in recipes.items():
                records = curve(attn, folder, recipe, options.every, computing, runs, options.seed, options.init)
                shares = [100 * record["val_accuracy"] for record in records]
                to = [reached(records, target / 100) for target in targets]
                way = " ".join(f"{share:.0f}" for share in shares)
                rows.append([attn, recipe.label, *to, f"{max(shares):.1f}", way])
                print(table([rows[0], rows[-1]]), flush=True)
                if options.out:
                    kept = {"variant": read_manifest(folder).variant.name, "dataset": folder.name, "attn": attn}
                    kept |= {"recipe": asdict(recipe), "device": computing.device_name}
                    kept |= {"precision": options.precision, "curve": records}
                    options.out.mkdir(parents=True, exist_ok=True)
                    changed = f"-s{options.seed}" if options.seed else ""
                    changed += "" if options.precision == "fp32" else f"-{options.precision}"
                    place = options.out / f"{kept['variant']}-{attn.replace(',', '+')}-{name}{changed}.json"
                    place.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
