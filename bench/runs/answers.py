"""The answers of a run to every test question: a file in its folder, or a packed file in a stored board."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench.common import packing
from bench.common.safetensors_io import decode, encode
from bench.runs.validation import check_answers
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

ANSWERS = "answers.safetensors"
PACKED_ANSWERS = ANSWERS + packing.SUFFIX
_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def write_answers(run: Path, answers: Mapping[str, torch.Tensor]) -> None:
    """Write the answers of a test, see `bench.evaluation.evaluate.TestResult`."""
    write_whole(run / ANSWERS, encode(answers))


def read_packed_answers(run: Path) -> bytes | None:
    """Return the content of a packed file with the answers of a run; None if the run has no answers."""
    if (run / ANSWERS).is_file():
        return packing.pack((run / ANSWERS).read_bytes())
    return (run / PACKED_ANSWERS).read_bytes() if (run / PACKED_ANSWERS).is_file() else None


def read_answers(run: Path) -> dict[str, np.ndarray] | None:
    """Return the answers of a run by name, packed or not; None if it has no answers, as runs of early versions.

    Raises:
        DataProblemError: the file is damaged, or is not the answers of a test.
    """
    path = run / ANSWERS
    if path.is_file():
        data = path.read_bytes()
    elif (path := run / PACKED_ANSWERS).is_file():
        data = packing.unpack(path.read_bytes(), str(path))
    else:
        return None
    answers = {name: _to_numpy(tensor) for name, tensor in decode(data, str(path)).items()}
    if wrong := check_answers(answers):
        raise DataProblemError(
            f"{path}: not the answers of a test ({', '.join(wrong[:3])} missing or wrong); delete the run and start it "
            "again"
        )
    return answers


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the array of a tensor. Types that NumPy does not have, such as bf16, become f4."""
    is_supported = not tensor.is_floating_point() or tensor.dtype in _NUMPY_FLOATS
    array: np.ndarray = (tensor if is_supported else tensor.float()).numpy()
    return array
