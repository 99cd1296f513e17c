"""Arrays with one value per question in the folder of a run, as a safetensors file that a stored board packs as .xz."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bench.common import packing
from bench.common.json_files import read_json
from bench.common.safetensors_io import decode, encode
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError


@dataclass(frozen=True)
class QuestionArrays:
    """The file of one record.

    Attributes:
        file: name of the file, such as "saliency.safetensors".
        settings: name of the JSON file of the same record.
        command: the command that writes both, for messages.
    """

    file: str
    settings: str
    command: str

    @property
    def packed_file(self) -> str:
        """Name of the packed file."""
        return self.file + packing.SUFFIX

    def write(self, run: Path, arrays: Mapping[str, Tensor]) -> None:
        """Write the arrays into the folder of a run."""
        write_whole(run / self.file, encode(arrays))

    def read(self, run: Path, questions: int) -> dict[str, np.ndarray]:
        """Return the arrays of a run, packed or not.

        Args:
            run: the folder.
            questions: T.

        Raises:
            DataProblemError: the file is missing or damaged, or an array is not (T,).
        """
        arrays = {name: tensor.numpy() for name, tensor in self.read_tensors(run).items()}
        self.require_none(run, [name for name, values in arrays.items() if values.shape != (questions,)])
        return arrays

    def read_tensors(self, run: Path) -> dict[str, Tensor]:
        """Return the arrays of a run, packed or not, of any shape.

        Raises:
            DataProblemError: the file is missing or damaged.
        """
        return decode(self._read_bytes(run), str(run / self.file))

    def read_packed(self, run: Path) -> bytes | None:
        """Return the content of the packed file of a run; None if the run has no such arrays."""
        if (run / self.file).is_file():
            return packing.pack((run / self.file).read_bytes())
        return (run / self.packed_file).read_bytes() if (run / self.packed_file).is_file() else None

    def require_none(self, run: Path, wrong: list[str]) -> None:
        """Raise DataProblemError if there are names of arrays that are missing or wrong."""
        if wrong:
            raise self.damage(run / self.file, f"{', '.join(wrong[:3])} missing or wrong")

    def parse_settings(
        self,
        path: Path,
        version: int,
        kinds: Mapping[str, type],
        checks: Mapping[str, Callable[[object], bool]] | None = None,
    ) -> dict[str, Any]:
        """Return the content of the JSON file of a record.

        Args:
            path: the file.
            version: the format that it must have.
            kinds: field → its type. The field `images`, if it is one of them, must be above 0.
            checks: further field → whether a value is right.

        Raises:
            DataProblemError: the file is damaged, has another format, or a field is missing or wrong.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != version:
            raise self.damage(path, f"its format is not {version}")
        wrong = [name for name, kind in kinds.items() if type(content.get(name)) is not kind]
        wrong += [] if wrong or content.get("images", 1) > 0 else ["images"]
        wrong += [name for name, is_right in (checks or {}).items() if not is_right(content.get(name))]
        if wrong:
            raise self.damage(path, f"{', '.join(wrong)} missing or wrong")
        return content

    def damage(self, path: Path, reason: str) -> DataProblemError:
        """Return the error for a damaged file of the record."""
        return DataProblemError(f"{path}: damaged ({reason}); delete it and run `{self.command}` again")

    def _read_bytes(self, run: Path) -> bytes:
        if (run / self.file).is_file():
            return (run / self.file).read_bytes()
        if (run / self.packed_file).is_file():
            return packing.unpack((run / self.packed_file).read_bytes(), str(run / self.packed_file))
        raise self.damage(run / self.settings, f"{self.file} is missing")
