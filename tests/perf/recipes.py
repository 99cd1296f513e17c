"""How soon a recipe reaches a validation accuracy: the recipes tried side by side, on validation data alone.

    python -m tests.perf.recipes [--attn san,pan,pan-ctx,arnn] [--variant mref] [--tried fast,lr=0.006,batch=25]
        [--images 10000] [--epochs 10] [--targets 60,80] [--init WEIGHTS] [--fade 0.5] [--digits mnist5k] [--root DIR]

Each mechanism is trained by each recipe, one after the other, for as many images in all; after each epoch (of --images)
its validation accuracy is asked for. Printed are the steps and the seconds of training to the targets, interpolated
between two epochs, the accuracies on the way, and the best. "lr=0.006" is the recipe fast with that changed; --init: a
weights.safetensors of the same mechanism to begin with, as of a run on an easier variant.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from bench.checkpoints import load_weights
from bench.computing import Computing, choose
from bench.config import RECIPES, Recipe
from bench.data import load_split
from bench.memory import keep_freed
from bench.model import build
from bench.train import Trainer
from mnistref.generate import Request, generate
from mnistref.text import table
from mnistref.variants import get_variant

KINDS = {"lr": float, "batch": int}


def recipe_of(name: str, epochs: int, fade: float) -> Recipe:
    """The recipe of that name, or fast with something changed: lr=…, batch=…, both joined by a +."""
    if name in RECIPES:
        return replace(RECIPES[name], epochs=epochs, fade=fade)
    changes = {key: KINDS[key](value) for key, value in (part.split("=") for part in name.split("+"))}
    return replace(RECIPES["fast"], epochs=epochs, fade=fade, **changes)


def curve(attn: str, folder: Path, variant: str, recipe: Recipe, init: Path | None, computing: Computing) -> list[dict]:
    """The training's records, epoch by epoch; `seconds` counts from its begin."""
    model = build(attn, get_variant(variant), 0, computing.device)
    if init:
        load_weights(init, model)
    train = load_split(folder, "train", "one", computing.device, masks=recipe.fade > 0)
    val = load_split(folder, "val", "one", computing.device)
    found, seconds = [], 0.0
    with computing.products():
        for record in Trainer(recipe, model, train, val, 0, computing).epochs():
            seconds += record["seconds"]
            found.append({**record, "seconds": seconds})
    return found


def reached(records: list[dict], target: float) -> str:
    """Steps and seconds at which the accuracy was first there."""
    before = {"steps": 0, "seconds": 0.0, "val_accuracy": 0.0}
    for record in records:
        if record["val_accuracy"] >= target:
            part = (target - before["val_accuracy"]) / (record["val_accuracy"] - before["val_accuracy"])
            steps, seconds = (before[k] + part * (record[k] - before[k]) for k in ("steps", "seconds"))
            return f"{steps:.0f} steps, {seconds:.0f} s"
        before = record
    return "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attn", default="san,pan,pan-ctx,arnn")
    parser.add_argument("--variant", default="mref")
    parser.add_argument("--tried", default="fast,lr=0.0015,lr=0.006,batch=25,batch=100+lr=0.006")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--targets", default="60,80")
    parser.add_argument("--init", type=Path)
    parser.add_argument("--fade", type=float, default=0.0)
    parser.add_argument("--digits", default="mnist5k")
    parser.add_argument("--backgrounds", default="builtin")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, help="Also write the curves as JSON.")
    options = parser.parse_args()
    computing = choose()
    keep_freed(computing.device)
    targets, curves = [int(part) for part in options.targets.split(",")], []
    rows = [["attn", "recipe", *(f"to {target} %" for target in targets), "best", "after each epoch, %"]]
    with tempfile.TemporaryDirectory() as temporary:
        sizes = {"train": options.images, "val": 2_000, "test": 1}
        root = options.root or Path(temporary)
        request = Request(options.variant, root, 0, sizes, options.digits, options.backgrounds)
        folder = generate(request)
        print(f"{folder.name} on {computing.device_name}, {torch.get_num_threads()} threads", flush=True)
        for attn in options.attn.split(","):
            for name in options.tried.split(","):
                recipe = recipe_of(name, options.epochs, options.fade)
                records = curve(attn, folder, options.variant, recipe, options.init, computing)
                curves.append({"attn": attn, "recipe": recipe.label, "curve": records})
                shares = [100 * record["val_accuracy"] for record in records]
                to = [reached(records, target / 100) for target in targets]
                way = " ".join(f"{share:.0f}" for share in shares)
                rows.append([attn, recipe.label, *to, f"{max(shares):.1f}", way])
                print(table([rows[0], rows[-1]]), flush=True)
                if options.out:
                    options.out.write_text(json.dumps(curves, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
