"""What came of every test question of a run, as a file in its folder; of a run that is kept with a board packed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench.common import packing
from bench.common.safetensors_io import decode, encode
from bench.runs.validation import unsound
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

ANSWERS = "answers.safetensors"
PACKED_ANSWERS = ANSWERS + packing.SUFFIX


def write_answers(run: Path, answers: Mapping[str, torch.Tensor]) -> None:
    """What came of every test question, see `bench.evaluation.evaluate.Tested`."""
    write_whole(run / ANSWERS, encode(answers))


def packed_answers(run: Path) -> bytes | None:
    """Return the answers of a run as a packed file holds them, or None where there are none."""
    if (run / ANSWERS).is_file():
        return packing.pack((run / ANSWERS).read_bytes())
    return (run / PACKED_ANSWERS).read_bytes() if (run / PACKED_ANSWERS).is_file() else None


def read_answers(run: Path) -> dict[str, np.ndarray] | None:
    """What `write_answers` wrote, or None where there is none, as of runs of early versions.

    Of a run that is kept with a board they may be packed, see `packed_answers`.
    """
    path = run / ANSWERS
    if path.is_file():
        data = path.read_bytes()
    elif (path := run / PACKED_ANSWERS).is_file():
        data = packing.unpack(path.read_bytes(), str(path))
    else:
        return None
    tensors = decode(data, str(path))
    plain = (torch.float16, torch.float32, torch.float64)
    as_numpy = {n: t.float() if t.is_floating_point() and t.dtype not in plain else t for n, t in tensors.items()}
    answers = {name: tensor.numpy() for name, tensor in as_numpy.items()}
    if wrong := unsound(answers):
        raise DataProblemError(
            f"{path}: not the answers of a test ({', '.join(wrong[:3])} missing or wrong); delete the run and start it "
            "again"
        )
    return answers
