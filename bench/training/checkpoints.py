"""Checkpoints of a training, written atomically: tensors as safetensors, all other state as JSON."""

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

FOLDER, TENSORS, STATE = "checkpoint", "state.safetensors", "state.json"


def save(run: Path, trainer: Trainer) -> None:
    """Write a checkpoint of the trainer. The JSON file contains the digest of the tensors, to detect a mismatch."""
    tensors, rest = trainer.state()
    data = encode(tensors)
    digest = hashlib.sha256(data).hexdigest()
    folder = run / FOLDER
    write_whole(folder / f"{digest[:16]}-{TENSORS}", data)
    write_whole(folder / STATE, json.dumps({**rest, "tensors": digest}).encode())
    for old in folder.glob(f"*-{TENSORS}"):
        if not old.name.startswith(digest[:16]):
            old.unlink()


class PeriodicCheckpointer:
    """Writes a checkpoint when a number of seconds has passed since the last one.

    Args:
        run: the folder of the run.
        trainer: the trainer.
        every: seconds.
    """

    def __init__(self, run: Path, trainer: Trainer, every: float) -> None:
        self._run, self._trainer, self._every = run, trainer, every
        self._due = time.monotonic() + every

    def step(self) -> None:
        """Write a checkpoint if it is due. Call this after each step."""
        if time.monotonic() >= self._due:
            self.keep()

    def keep(self) -> None:
        """Write a checkpoint now."""
        save(self._run, self._trainer)
        self._due = time.monotonic() + self._every


def load(run: Path, trainer: Trainer) -> bool:
    """Restore the trainer from the checkpoint of a run.

    Returns:
        Whether there was a checkpoint.

    Raises:
        DataProblemError: the checkpoint is damaged.
        OSError: the checkpoint cannot be read.
    """
    path = run / FOLDER / STATE
    if not path.is_file():
        return False
    try:
        rest = json.loads(path.read_text(encoding="utf-8"))
        digest = rest.pop("tensors")
        data = (path.parent / f"{digest[:16]}-{TENSORS}").read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("the digest of the tensors does not match")
        trainer.restore(decode(data, str(path)), rest)
    except (AttributeError, FileNotFoundError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataProblemError(f"{path}: damaged checkpoint ({error}); run again with --restart") from error
    return True


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of a model, atomically."""
    write_whole(path, encode(model.state_dict()))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the weights of a run into a network of the same architecture.

    Raises:
        DataProblemError: there are no weights, or they do not fit the network.
    """
    if not path.is_file():
        raise DataProblemError(
            f"{path}: no weights here; finish the run (a record that was stored without weights cannot be used)"
        )
    try:
        model.load_state_dict(decode(path.read_bytes(), str(path)))
    except RuntimeError as error:
        raise DataProblemError(
            f"{path}: the weights do not fit this network; use the version of bench that made the run"
        ) from error


def load_fitting(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[list[str], list[str]]:
    """Load those weights of another network that match this one by name and shape.

    Returns:
        The tensors of the network that were not loaded, and the weights that were not used. If no tensor of a module
            matches, the list has the name of the module instead.
    """
    state = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in state and state[name].shape == value.shape}
    model.load_state_dict(state | fitting)

    def short(name: str) -> str:
        parts = name.split(".")
        heads = (".".join(parts[:k]) for k in range(1, len(parts)))
        return next((head for head in heads if not any(f.startswith(f"{head}.") for f in fitting)), name)

    missing, unused = ([name for name in names if name not in fitting] for names in (state, weights))
    return list(dict.fromkeys(map(short, missing))), list(dict.fromkeys(map(short, unused)))
