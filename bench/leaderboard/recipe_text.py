"""Recipes in words, for tables and reports. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from bench.config import DEFAULT_NETWORK, DEFAULT_WIDTH, FIRST_RECIPES, training_stages

_DEFAULTS = {"network": DEFAULT_NETWORK, "width": str(DEFAULT_WIDTH)}
_FLAGS = {"online": "new images in every epoch", "deterministic": "deterministic"}
_NAMES = {"lr": "learning rate", "clip": "maximal gradient norm"}
_SHARED_FIELDS = ("batch", "questions", "network", "width")
"""Fields that an earlier training mentions only if they differ from those of the last training."""
_WORD, _NAME, _NUMBER = r"[A-Za-z0-9+]+", r"[a-z0-9-]+", r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?"
_PATTERNS = {**dict.fromkeys(("optimizer", "schedule", "questions", "patience", "augment"), _WORD), "network": _NAME}
"""What the values of fields look like that are no numbers."""
_DATASET = re.compile(r"(\w[\w.-]*)-[0-9a-f]{12}")

Settings = Mapping[str, str]
"""The fields of a recipe as text, see `bench.config.Recipe`; `name`, `network`, `width`, and the flags that are set."""


def describe_trainings(labels: Iterable[str], asks: bool = True) -> dict[str, str]:
    """Return a description for each label of a training, see `bench.config.RunConfig.training`.

    Different labels have different descriptions: equal ones get the full names of the data sets, or else the label.

    Args:
        labels: the labels.
        asks: whether the data set has questions, so that the description says how many a step has.
    """
    every = dict.fromkeys(labels)
    short, full = ({label: _describe(label, names, asks) for label in every} for names in (False, True))
    uses = {names: Counter(texts.values()) for names, texts in ((False, short), (True, full))}

    def choose(label: str) -> str:
        if uses[False][short[label]] == 1:
            return short[label]
        return full[label] if uses[True][full[label]] == 1 else label

    return {label: choose(label) for label in every}


def describe_training(label: str) -> str:
    """Return the label of a training with questions in words; a label of unknown form is returned unchanged.

    An example is "fast: 3 epochs, 50 images a step, one question each, started from mini 3 ep → mref 4 ep".
    """
    return _describe(label, full_names=False, asks=True)


def _describe(label: str, full_names: bool, asks: bool) -> str:
    last, *earlier = training_stages(label)
    settings = _parse(last)
    stages = [_parse_stage(stage) for stage in earlier]
    if settings is None or None in stages:
        return label
    chain = [_describe_stage(*stage, settings, full_names) for stage in reversed(stages) if stage]
    return ", ".join([_describe_last(settings, asks), *([f"started from {' → '.join(chain)}"] if chain else [])])


def _parse_stage(stage: str) -> tuple[str, Settings] | None:
    """Return data set and settings of an earlier training; None if the text has another form."""
    dataset, _, label = stage.partition(",")
    settings = _parse(label)
    return None if settings is None or not dataset else (dataset, settings)


def _parse(label: str) -> Settings | None:
    """Return the settings of a label; None if the label has another form."""
    name, *items = label.split(",")
    if name not in FIRST_RECIPES:
        return None
    fields = {key: str(value) for key, value in asdict(FIRST_RECIPES[name]).items()} | _DEFAULTS
    changes: dict[str, str] = {}
    for item in items:
        key, _, value = item.partition("=")
        if item in _FLAGS:
            changes[item] = "set"
        elif key in fields and key != "name" and re.fullmatch(_PATTERNS.get(key, _NUMBER), value):
            changes[key] = value
        else:
            return None
    return fields | changes


def _describe_last(settings: Settings, asks: bool) -> str:
    """Return the settings of the last training in words."""
    several = "up to " * (settings["patience"] != "None")
    parts = [
        f"{settings['name']}: {several}{settings['epochs']} epoch{'s' * (settings['epochs'] != '1')}",
        f"{settings['batch']} images a step",
        *([_describe_questions(settings["questions"])] if asks else []),
    ]
    return ", ".join([*parts, *_describe_changes(settings, _SHARED_FIELDS[:2])])


def _describe_stage(dataset: str, settings: Settings, last: Settings, full_names: bool) -> str:
    """Return an earlier training in a few words, such as "mref 4 ep (learning rate 0.006)"."""
    match = _DATASET.fullmatch(dataset)
    name = match.group(1) if match and not full_names else dataset
    alike = [field for field in _SHARED_FIELDS if settings[field] == last[field]]
    extra = [settings["name"]] * (settings["name"] != last["name"])
    if "batch" not in alike:
        extra.append(f"{settings['batch']} images a step")
    if "questions" not in alike:
        extra.append(_describe_questions(settings["questions"]))
    extra += _describe_changes(settings, (*_SHARED_FIELDS[:2], *alike))
    return f"{name} {settings['epochs']} ep" + (f" ({', '.join(extra)})" if extra else "")


def _describe_questions(questions: str) -> str:
    return {"all": "all questions", "one": "one question each"}.get(questions, f"{questions} questions each")


def _describe_changes(settings: Settings, described: Iterable[str]) -> list[str]:
    """Return the other settings that differ from those of the recipe in version 0.1."""
    initial = {key: str(value) for key, value in asdict(FIRST_RECIPES[settings["name"]]).items()}
    initial |= _DEFAULTS
    omitted = {"epochs", *described}
    changed = {key: value for key, value in settings.items() if key not in omitted and initial.get(key) != value}
    return [_FLAGS.get(key) or _describe_change(key, value) for key, value in changed.items()]


def _describe_change(key: str, value: str) -> str:
    if key == "fade":
        return f"backgrounds fade in over {100 * float(value):g} % of the steps"
    if key == "width":
        return f"{value} channels"
    if key == "network":
        return f"network {value}"
    return f"{_NAMES.get(key, key)} {value}"
