"""A record in the folder of a run: settings in JSON, and arrays with one value for each question.

The arrays are a safetensors file, which a stored board packs as .xz.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import numpy as np
from torch import Tensor

from bench.common import packing
from bench.common.json_files import read_json, write_json
from bench.common.safetensors_io import decode, encode
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

Record = TypeVar("Record")
Arrays = dict[str, np.ndarray]
_KINDS: Mapping[str, type] = {"dataset": str, "images": int, "batch": int, "device": str}


class QuestionSettings(TypedDict):
    """The settings that every record has.

    Attributes:
        format: version of the record.
        dataset: folder name of the data set.
        images: T, 1 or more.
        batch: questions per pass.
        device: name of the device.
    """

    format: int
    dataset: str
    images: int
    batch: int
    device: str


class Content(NamedTuple):
    """What is written into the files of a record: the settings, and the arrays (T,) by name."""

    settings: Mapping[str, object]
    arrays: Mapping[str, Tensor]


@dataclass(frozen=True)
class StoredRecord(ABC, Generic[Record]):
    """A kind of record: its files.

    Attributes:
        name: such as "attack", for attack.json and attack.safetensors.
        version: the format. Raise it when a stored number changes its meaning.
    """

    name: str
    version: int

    @abstractmethod
    def read(self, run: Path) -> Record | None:
        """Return the record of a run, packed or not; None if there is none.

        Raises:
            DataProblemError: a file is missing or damaged.
        """

    def read_all(self, runs: Path) -> dict[str, Record]:
        """Return the record of every run in a folder that has one, by the name of the run.

        Raises:
            DataProblemError: a file is missing or damaged.
        """
        folders = sorted(path.parent for path in runs.glob(f"*/{self.settings_file}"))
        found = {run.name: self.read(run) for run in folders}
        return {name: record for name, record in found.items() if record is not None}

    @property
    def settings_file(self) -> str:
        """Name of the JSON file."""
        return f"{self.name}.json"

    @property
    def arrays_file(self) -> str:
        """Name of the file of arrays."""
        return f"{self.name}.safetensors"

    @property
    def packed_file(self) -> str:
        """Name of the packed file of arrays."""
        return self.arrays_file + packing.SUFFIX

    @property
    def command(self) -> str:
        """The command that writes the record."""
        return f"bench {self.name}"

    def write_files(self, run: Path, content: Content) -> None:
        """Write the files of a record into the folder of a run."""
        write_whole(run / self.arrays_file, encode(content.arrays))
        write_json(run / self.settings_file, content.settings)

    def read_packed(self, run: Path) -> bytes | None:
        """Return the content of the packed file of a run; None if the run has no such arrays."""
        if (run / self.arrays_file).is_file():
            return packing.pack((run / self.arrays_file).read_bytes())
        return (run / self.packed_file).read_bytes() if (run / self.packed_file).is_file() else None

    def parse_settings(
        self, run: Path, kinds: Mapping[str, type], checks: Mapping[str, Callable[[object], bool]]
    ) -> dict[str, Any]:
        """Return the known entries of the JSON file.

        Args:
            run: the folder.
            kinds: entry → its type. The entry `images`, if it is one of them, must be above 0.
            checks: further entry → whether a value is right.

        Raises:
            DataProblemError: the file is damaged, has another format, or an entry is missing or wrong.
        """
        path = run / self.settings_file
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != self.version:
            raise self._damage(path, f"its format is not {self.version}")
        wrong = [name for name, kind in kinds.items() if type(content.get(name)) is not kind]
        wrong += ["images"] if not wrong and "images" in kinds and content["images"] <= 0 else []
        wrong += [name for name, is_right in checks.items() if not is_right(content.get(name))]
        if wrong:
            raise self._damage(path, f"{', '.join(wrong)} missing or wrong")
        return {name: content[name] for name in ("format", *kinds, *checks)}

    def read_tensors(self, run: Path) -> dict[str, Tensor]:
        """Return the arrays of a run, packed or not, of any shape.

        Raises:
            DataProblemError: the file is missing or damaged.
        """
        return decode(self._read_bytes(run), str(run / self.arrays_file))

    def _read_bytes(self, run: Path) -> bytes:
        if (run / self.arrays_file).is_file():
            return (run / self.arrays_file).read_bytes()
        if (run / self.packed_file).is_file():
            return packing.unpack((run / self.packed_file).read_bytes(), str(run / self.packed_file))
        raise self._damage(run / self.settings_file, f"{self.arrays_file} is missing")

    def require_none(self, run: Path, wrong: list[str]) -> None:
        """Raise DataProblemError if there are names of arrays that are missing or wrong."""
        if wrong:
            raise self._damage(run / self.arrays_file, f"{', '.join(wrong[:3])} missing or wrong")

    def _damage(self, path: Path, reason: str) -> DataProblemError:
        return DataProblemError(f"{path}: damaged ({reason}); delete it and run `{self.command}` again")


@dataclass(frozen=True)
class QuestionRecord(StoredRecord[Record]):
    """A kind of record of questions about one data set, and how its content is checked.

    Attributes:
        find_wrong: (settings, arrays) → names of the arrays that are missing or wrong.
        build: (settings, arrays) → the record.
        checks: setting that other kinds do not have → whether a value is right.
    """

    find_wrong: Callable[[Any, Arrays], list[str]]
    build: Callable[[Any, Arrays], Record]
    checks: Mapping[str, Callable[[object], bool]] = field(default_factory=dict)

    def write(self, run: Path, content: Content) -> Record:
        """Write a record into the folder of a run, and return it as it is read again."""
        self.write_files(run, content)
        record = self.read(run)
        assert record is not None
        return record

    def make(self, content: Content) -> Record:
        """Return the record that `write` returns, without writing it."""
        return self.build(dict(content.settings), {name: values.numpy() for name, values in content.arrays.items()})

    def read(self, run: Path) -> Record | None:
        """Return the record of a run, packed or not; None if there is none.

        Raises:
            DataProblemError: a file is missing or damaged.
        """
        if not (run / self.settings_file).is_file():
            return None
        settings = self.parse_settings(run, _KINDS, self.checks)
        arrays = self.read_arrays(run, settings["images"])
        self.require_none(run, self.find_wrong(settings, arrays))
        return self.build(settings, arrays)

    def read_arrays(self, run: Path, questions: int) -> Arrays:
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


def is_flag(values: np.ndarray) -> bool:
    """Return whether all values are 0 or 1."""
    return bool(np.isin(values, (0, 1)).all())


def is_within(values: np.ndarray, low: float, high: float) -> bool:
    """Return whether all values are numbers from `low` to `high`."""
    return bool(((values >= low) & (values <= high)).all())
