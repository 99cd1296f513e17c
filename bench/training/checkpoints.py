"""Checkpoints and weights of a training, written atomically: tensors as safetensors, all other values as JSON."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.common.safetensors_io import decode, encode
from bench.training.trainer import Trainer
from bench.training.trainer_state import TrainerState
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

FOLDER, TENSORS, STATE = "checkpoint", "state.safetensors", "state.json"


def save(run: Path, trainer: Trainer) -> None:
    """Write a checkpoint of the trainer into the folder of a run."""
    write(run, *trainer.state())


def write(run: Path, tensors: dict[str, Tensor], values: TrainerState) -> None:
    """Write a state that `Trainer.state` returned as a checkpoint into the folder of a run.

    The JSON file contains the SHA-256 of the tensors, so that a mismatch is detected.
    """
    data = encode(tensors)
    digest = hashlib.sha256(data).hexdigest()
    folder = run / FOLDER
    write_whole(folder / f"{digest[:16]}-{TENSORS}", data)
    write_whole(folder / STATE, json.dumps({**values, "tensors": digest}).encode())
    for old in folder.glob(f"*-{TENSORS}"):
        if not old.name.startswith(digest[:16]):
            old.unlink()


class PeriodicCheckpointer:
    """Writes a checkpoint when a number of seconds has passed since the last one.

    Args:
        run: the folder of the run.
        trainer: the trainer whose state is written.
        seconds: interval between two checkpoints.
    """

    def __init__(self, run: Path, trainer: Trainer, seconds: float) -> None:
        self._run, self._trainer, self._seconds = run, trainer, seconds
        self._due = time.monotonic() + seconds

    def step(self) -> None:
        """Write a checkpoint if it is due. Call this after each step."""
        if time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Write a checkpoint now."""
        save(self._run, self._trainer)
        self._due = time.monotonic() + self._seconds


def load(run: Path, trainer: Trainer) -> bool:
    """Restore the trainer from the checkpoint of a run.

    Returns:
        Whether the run has a checkpoint.

    Raises:
        DataProblemError: the checkpoint is damaged.
        OSError: the checkpoint cannot be read.
    """
    path = run / FOLDER / STATE
    if not path.is_file():
        return False
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        digest = values.pop("tensors")
        data = (path.parent / f"{digest[:16]}-{TENSORS}").read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("the digest of the tensors does not match")
        trainer.restore(decode(data, str(path)), values)
    except (AttributeError, FileNotFoundError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataProblemError(f"{path}: damaged checkpoint ({error}); run again with --restart") from error
    return True


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of a network."""
    write_whole(path, encode(model.state_dict()))


def require_weights_file(path: Path) -> None:
    """Raise DataProblemError if a file with the weights of a run does not exist."""
    if not path.is_file():
        raise DataProblemError(
            f"{path}: no weights here; finish the run (a board may hold records without weights, which cannot be used)"
        )


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the weights of a run into a network of the same architecture.

    Raises:
        DataProblemError: the file does not exist, is damaged, or has the weights of another network.
    """
    require_weights_file(path)
    try:
        model.load_state_dict(decode(path.read_bytes(), str(path)))
    except RuntimeError as error:
        raise DataProblemError(
            f"{path}: the weights do not fit this network; use the version of bench that made the run"
        ) from error


def load_matching_weights(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[list[str], list[str]]:
    """Load the weights of another network whose names and shapes match those of this network.

    Returns:
        The names of the tensors of the network that were not loaded, and the names of the weights that were not used.
            If no tensor of a module matches, the list has the name of the module instead.
    """
    state = model.state_dict()
    matching = {name: value for name, value in weights.items() if name in state and state[name].shape == value.shape}
    model.load_state_dict(state | matching)

    def shorten(name: str) -> str:
        """Return the largest enclosing module without matching tensors, or else the name itself."""
        parts = name.split(".")
        heads = (".".join(parts[:k]) for k in range(1, len(parts)))
        return next((head for head in heads if not any(known.startswith(f"{head}.") for known in matching)), name)

    missing, unused = ([name for name in names if name not in matching] for names in (state, weights))
    return list(dict.fromkeys(map(shorten, missing))), list(dict.fromkeys(map(shorten, unused)))
