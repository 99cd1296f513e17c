"""The directive `registry-table NAME`: a table that is generated from a registry of the project.

The pages contain no second list of names: a new entry in a registry appears in its table.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TableRows = Iterable[Iterable[object]]


def _mechanisms() -> TableRows:
    """Return name, slots, learned parameters, options, description and source of each mechanism."""
    from bench.attention import MECHANISMS
    from bench.model import count_parameters

    yield "mechanism", "slots", "what it does", "source", "parameters", "options"
    for mechanism in MECHANISMS.values():
        about = mechanism.describe()
        names = ", ".join(f"`{name}`" for name in (about["name"], *about["aliases"]))
        options = " ".join(f"`{name}={value}`" for name, value in about["options"].items())
        count = f"{count_parameters(mechanism.name):,}"
        yield names, about["slots"], about["summary"], about["paper"], count, options


def _networks() -> TableRows:
    """Return slots, width, parameters, description and source of each network."""
    from bench.networks import NETWORKS

    yield "network", "slots", "what it is", "source", "width", "parameters"
    for network in NETWORKS.values():
        about = network.describe()
        kinds = [slot["kind"] for slot in about["slots"]]
        slots = " + ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        yield f"`{about['name']}`", slots, about["summary"], about["paper"], about["width"], f"{about['params']:,}"


def _variants() -> TableRows:
    """Return canvas, background, question and source of each variant."""
    from mnistref.variants import VARIANTS, range_text

    yield "variant", "canvas", "background", "digits", "question → answer", "classes", "splits", "source"
    for variant in VARIANTS.values():
        background = f"{variant.distractors} distractors" if variant.distractors else variant.background
        answer = "set of colours" if variant.repeats[1] > 1 else "colour"
        questions = {
            "class": f"digit class → {answer}",
            "color": "colour → digit class",
            "none": "no question; digit class",
        }
        size = f"{variant.canvas} × {variant.canvas}"
        digits, splits = range_text(variant.digits), ", ".join(variant.splits)
        question = questions[variant.query]
        yield f"`{variant.name}`", size, background, digits, question, variant.classes, splits, variant.paper


def _tasks() -> TableRows:
    """Return the default size and the description of each task."""
    from bench.tasks import TASKS

    yield "`--task`", "canvas", "what it is"
    for task in TASKS.values():
        yield f"`{task.name}`", f"{task.canvas} × {task.canvas}", task.summary


def _fields() -> TableRows:
    """Return dtype, shape, range and meaning of each field of a shard."""
    from mnistref.storage.schema import FIELDS

    yield "field", "dtype", "shape", "range", "meaning"
    for name, field in FIELDS.items():
        yield f"`{name}`", field.dtype, field.shape_text, f"{field.low:g} … {field.high:g}", field.meaning


def _colors() -> TableRows:
    """Return label, name and RGB value of each colour."""
    from mnistref.spec import COLORS

    yield "label", "colour", "RGB"
    for label, (name, rgb) in enumerate(COLORS.items()):
        yield label, name, ", ".join(map(str, rgb))


def _recipes() -> TableRows:
    """Return the settings of each recipe, one column for each recipe."""
    from bench.config import RECIPES

    yield "setting", *(f"`{name}`" for name in RECIPES)
    settings = [asdict(recipe) for recipe in RECIPES.values()]
    for key in settings[0]:
        if key != "name":
            yield f"`{key}`", *("–" if setting[key] is None else setting[key] for setting in settings)


def _presets() -> TableRows:
    """Return the choices of each preset."""
    from bench.config import PRESETS

    yield "preset", "variant", "train, val, test images", "digits", "recipe", "epochs", "images in a step"
    for name, preset in PRESETS.items():
        sizes, recipe = ", ".join(f"{n:,}" for n in preset.sizes.values()), preset.recipe
        yield f"`{name}`", f"`{preset.variant}`", sizes, preset.digits, f"`{recipe.name}`", recipe.epochs, recipe.batch


def _trained_networks() -> TableRows:
    """Return the variant, accuracy, training and run of each network with trained weights."""
    from bench.leaderboard.recipe_text import describe_training
    from bench.pretrained import read_index

    yield "network", "variant", "test accuracy, %", "training", "run in `results`"
    for entry in sorted(read_index(), key=lambda entry: (entry["variant"], -entry["accuracy"])):
        accuracy, training = f"{100 * entry['accuracy']:.1f}", describe_training(entry["recipe"])
        yield f"`{entry['attn']}`", f"`{entry['variant']}`", accuracy, training, f"`{entry['run']}`"


def _map_methods() -> TableRows:
    """Return the methods of `bench saliency`."""
    from bench.attribution.methods import METHODS

    yield "`--map`", "what it computes", "source", "caution"
    for method in METHODS.values():
        summary = f"{method.summary} (slow)" if method.is_slow else method.summary
        yield f"`{method.name}`", summary, method.source or "baseline", method.caution


def _map_measures() -> TableRows:
    """Return the measures of `bench saliency`."""
    from bench.attribution.measures import MEASURES

    yield "measure", "heading", "better", "what it is"
    for column in MEASURES:
        better = {True: "higher", False: "lower", None: "–"}[column.higher_is_better]
        yield f"`{column.name}`", column.text_heading, better, column.doc


def _columns() -> TableRows:
    """Return the columns of a board in CSV, in their order, with their documentation."""
    from bench.evaluation.columns import COLUMNS

    yield "column of `board.csv`", "bounds", "what it is"
    for column in COLUMNS:
        if column.on_board:
            yield f"`{column.name}`", "`_lo`, `_hi`" if column.bounded else "", column.doc


def _attack_methods() -> TableRows:
    """Return the attacks of `bench attack`."""
    from bench.attribution.attack_names import METHODS

    yield "`--method`", "what it does"
    for name, text in METHODS.items():
        yield f"`{name}`", text


def _question_columns(name: str) -> TableRows:
    """Return the columns of a table in `bench.leaderboard.question_columns`, with their documentation."""
    from bench.leaderboard import question_columns

    yield "column", "bounds", "what it is"
    for column in getattr(question_columns, name):
        yield f"`{column.name}`", "`_lo`, `_hi`" if column.bounded else "", column.doc


TABLES: dict[str, Callable[[], TableRows]] = {
    "columns": _columns,
    "attack_columns": partial(_question_columns, "ATTACK_COLUMNS"),
    "map_columns": partial(_question_columns, "MAP_COLUMNS"),
    "swap_columns": partial(_question_columns, "SWAP_COLUMNS"),
    "transfer_columns": partial(_question_columns, "TRANSFER_COLUMNS"),
    "attack_methods": _attack_methods,
    "map_measures": _map_measures,
    "map_methods": _map_methods,
    "colors": _colors,
    "fields": _fields,
    "mechanisms": _mechanisms,
    "networks": _networks,
    "presets": _presets,
    "recipes": _recipes,
    "tasks": _tasks,
    "trained_networks": _trained_networks,
    "variants": _variants,
}


class RegistryTable(SphinxDirective):
    """`registry-table NAME`, for a name in `TABLES`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table, parsed from Markdown."""
        head, *rows = [[str(cell) for cell in row] for row in TABLES[self.arguments[0]]()]
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("registry-table", RegistryTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
