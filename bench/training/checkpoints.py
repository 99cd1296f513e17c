"""A training on disk: tensors as safetensors, the rest as JSON, in one folder that is there whole or not at all."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.common.safetensors_io import decode, encode
from bench.training.trainer import Trainer
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

FOLDER, TENSORS, REST = "checkpoint", "state.safetensors", "state.json"


def save(run: Path, trainer: Trainer) -> None:
    """Keep the trainer's state. The JSON names the tensors by their digest, so that a torn pair shows."""
    tensors, rest = trainer.state()
    data = encode(tensors)
    digest = hashlib.sha256(data).hexdigest()
    folder = run / FOLDER
    write_whole(folder / f"{digest[:16]}-{TENSORS}", data)
    write_whole(folder / REST, json.dumps({**rest, "tensors": digest}).encode())
    for old in folder.glob(f"*-{TENSORS}"):
        if not old.name.startswith(digest[:16]):
            old.unlink()


class Keeper:
    """Keeps a trainer's state when so many seconds have passed since it was last kept."""

    def __init__(self, run: Path, trainer: Trainer, every: float) -> None:
        self._run, self._trainer, self._every = run, trainer, every
        self._due = time.monotonic() + every

    def step(self) -> None:
        """Call it after each step."""
        if time.monotonic() >= self._due:
            self.keep()

    def keep(self) -> None:
        save(self._run, self._trainer)
        self._due = time.monotonic() + self._every


def load(run: Path, trainer: Trainer) -> bool:
    """Restore the trainer from the run's checkpoint. → whether there was one.

    Raises DataProblemError where it is damaged, and OSError for what the system refuses.
    """
    path = run / FOLDER / REST
    if not path.is_file():
        return False
    try:
        rest = json.loads(path.read_text(encoding="utf-8"))
        digest = rest.pop("tensors")
        data = (path.parent / f"{digest[:16]}-{TENSORS}").read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("the tensors are not those it names")
        trainer.restore(decode(data, str(path)), rest)
    except (AttributeError, FileNotFoundError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataProblemError(f"{path}: damaged checkpoint ({error}); run again with --restart") from error
    return True


def save_weights(path: Path, model: nn.Module) -> None:
    write_whole(path, encode(model.state_dict()))


def load_weights(path: Path, model: nn.Module) -> None:
    """Put the weights of a run into a network of the same kind; a data error where they do not fit."""
    if not path.is_file():
        raise DataProblemError(f"{path}: no weights here: the run has not ended, or its record was kept without them")
    try:
        model.load_state_dict(decode(path.read_bytes(), str(path)))
    except RuntimeError as error:
        raise DataProblemError(
            f"{path}: the weights do not fit this network; was it made by another version?"
        ) from error


def load_fitting(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[list[str], list[str]]:
    """Put into a network those weights of another one that it has too, by name and shape.

    → what of it stays as it was, and what of the weights is left out, in short: a module's name where nothing in it
    fits, else a tensor's.
    """
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(own | fitting)

    def short(name: str) -> str:
        parts = name.split(".")
        heads = (".".join(parts[:k]) for k in range(1, len(parts)))
        return next((head for head in heads if not any(f.startswith(f"{head}.") for f in fitting)), name)

    anew, left = ([name for name in names if name not in fitting] for names in (own, weights))
    return list(dict.fromkeys(map(short, anew))), list(dict.fromkeys(map(short, left)))
