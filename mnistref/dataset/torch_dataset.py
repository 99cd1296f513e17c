"""The torch Dataset `MnistRef`: questions about images as dictionaries."""

import operator
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mnistref.common.errors import UsageProblemError
from mnistref.dataset.arrays import read_split, require_queries
from mnistref.dataset.mapped_shards import MappedShards
from mnistref.queries import Triples, triples
from mnistref.storage.manifest import Manifest, read_manifest

Sample = dict[str, Any]


class MnistRef(Dataset[Sample]):
    """Questions about images, as a torch Dataset of dictionaries.

    Each item has these entries:

    - `image`: tv_tensors.Image u1 (3, H, W), RGB
    - `query`, `label`: int
    - `mask`: tv_tensors.Mask bool (H, W), the ink of the queried digit
    - `scale`: float, scale of the queried digit
    - `boxes`: tv_tensors.BoundingBoxes i8 (1, 4), the square of its glyph in XYXY format
    - `box`: i8 (4,), the same as y0, x0, y1, x1, half-open
    - `labels`: bool (K,), the set of correct labels; only if the queried class is repeated (mbgmulti)

    A slice, such as `dataset[10:20]`, is a data set of these questions. It shares the mapped files.

    Args:
        folder: a data set made by `mnistref generate`.
        split: train, val or test.
        queries: "one" question per image, "all" of them, or "author" (the first N questions of all, as in the PAN
            program).
        transforms: a callable on the dictionary, for example from torchvision.transforms.v2, so that image, mask and
            boxes are transformed together. `box` is added after it.
        transform: a callable on the image alone.
        target_transform: a callable on the label alone. As in torchvision, this and `transform` exclude `transforms`.

    Attributes:
        folder: absolute path of the data set.
        manifest: what the data set is, see `mnistref.storage.manifest.Manifest`.
        variant: the sampling law.
        split: name of the split.
        queries: the unit of questions.
        classes: the name of each label: five colours or, if the query is a colour, ten digits.
        triples: the questions: image, slot, query and label of each.

    Raises:
        UsageProblemError: there is no data set, split or unit with this name; or `transforms` is given with one of the
            other two.
        DataProblemError: a shard is missing or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        queries: str = "one",
        transforms: Callable[[Sample], Any] | None = None,
        *,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise UsageProblemError("give transforms, or transform and target_transform, not both")
        self.folder = Path(folder).absolute()
        self.manifest: Manifest = read_manifest(self.folder)
        self.variant = self.manifest.variant
        self.manifest.require_split(split)
        require_queries(queries)
        self.split, self.queries = split, queries
        self.classes = list(self.variant.label_names)
        self.transforms, self.transform, self.target_transform = transforms, transform, target_transform
        digits = read_split(self.folder, split, "digit_class", "digit_color", "query_slot", "digit_scale", "digit_box")
        scale, box = digits.pop("digit_scale"), digits.pop("digit_box")
        self.triples: Triples = triples(self.variant, queries, **digits)
        self.scale: np.ndarray = scale[self.triples.image, self.triples.slot]
        """Scale of the queried digit, f4 (T,)."""
        self._box: np.ndarray = box[self.triples.image, self.triples.slot].astype(np.int64)
        self._digits = (digits["digit_class"], digits["digit_color"]) if self.variant.repeats[1] > 1 else None
        self._shards = MappedShards(self.folder, self.manifest.splits[split], self.variant.canvas)

    def __len__(self) -> int:
        return len(self.triples.image)

    def __repr__(self) -> str:
        canvas = self.variant.canvas
        lines = [
            f"Number of datapoints: {len(self)}",
            f"Root location: {self.folder}",
            f"Split: {self.split}, queries: {self.queries}",
            f"Images: {canvas} × {canvas}, classes: {', '.join(self.classes)}",
        ]
        given = {name: getattr(self, name) for name in ("transforms", "transform", "target_transform")}
        lines += [f"{name}: {value!r}" for name, value in given.items() if value is not None]
        return "\n    ".join([f"Dataset {type(self).__name__} {self.variant.name}", *lines])

    @overload
    def __getitem__(self, index: slice) -> "MnistRef": ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> Sample: ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Sample | MnistRef":
        if isinstance(index, slice):
            return self._view(index)
        try:
            if isinstance(index, bool):
                raise TypeError
            number = operator.index(index)
        except TypeError:
            kind = type(index).__name__
            raise TypeError(
                f"an index of type {kind}: pass a whole number or a slice, such as dataset[3] or dataset[:100]; "
                "dataset.select([3, 1]) takes a list of numbers"
            ) from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"item {number} of {len(self)}")
        sample = self._sample(number)
        if self.transform is not None:
            sample["image"] = self.transform(sample["image"])
        if self.target_transform is not None:
            sample["label"] = self.target_transform(sample["label"])
        if self.transforms is not None:
            sample = self.transforms(sample)
            return _with_box(sample) if isinstance(sample, dict) else sample
        sample["box"] = torch.tensor(self._box[number])  # a copy
        return sample

    def select(self, indices: Sequence[int] | np.ndarray) -> "MnistRef":
        """Return the questions at these positions, in this order, as a data set.

        Args:
            indices: positions; or a mask, bool, with one value for each question.

        Raises:
            IndexError: a position is not in −len … len − 1, or the mask has another length.
        """
        if len(indices) and np.asarray(indices).dtype == bool:
            if len(indices) != len(self):
                raise IndexError(f"a mask of {len(indices)} values for {len(self)} questions")
            indices = np.flatnonzero(indices)
        positions = np.array([range(len(self))[index] for index in indices], dtype=np.int64)
        return self._view(positions)

    def read_image(self, image: int) -> tuple[Tensor, np.ndarray]:
        """Return an image of the split, u1 (3, H, W), and the digit of each of its pixels, u1 (H, W).

        Pixels of the background are 0, the ink of the digit in slot k is k + 1.

        Args:
            image: index of the image, as in `triples.image`.
        """
        return self._shards.read(image)

    def _view(self, questions: slice | np.ndarray) -> "MnistRef":
        view = copy(self)
        view.triples = Triples(*(values[questions].copy() for values in self.triples))
        view.scale, view._box = self.scale[questions].copy(), self._box[questions].copy()
        return view

    def _sample(self, number: int) -> Sample:
        """Return an item before its transforms, without `box`."""
        from torchvision import tv_tensors  # as slow to import as PyTorch, and not needed to read arrays

        image, slot, query, label = (int(values[number]) for values in self.triples)
        pixels, instance = self.read_image(image)
        y0, x0, y1, x1 = self._box[number].tolist()
        sample: Sample = {
            "image": tv_tensors.Image(pixels),
            "query": query,
            "label": label,
            "mask": tv_tensors.Mask(torch.from_numpy(instance == slot + 1)),
            "scale": float(self.scale[number]),
            "boxes": tv_tensors.BoundingBoxes(
                torch.tensor([[x0, y0, x1, y1]]), format="XYXY", canvas_size=instance.shape
            ),
        }
        if self._digits is not None:
            classes, colors = (values[image] for values in self._digits)
            right = torch.from_numpy(colors[classes == query].astype(np.int64))
            sample["labels"] = torch.zeros(self.variant.classes, dtype=torch.bool).index_fill_(0, right, True)
        return sample


def _with_box(sample: Sample) -> Sample:
    """Add `box` to a transformed item, if it has one box. Transforms may remove or convert boxes."""
    from torchvision.transforms.v2.functional import convert_bounding_box_format
    from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

    boxes = sample.get("boxes")
    if isinstance(boxes, BoundingBoxes) and boxes.numel() == 4:
        if boxes.format is not BoundingBoxFormat.XYXY:
            boxes = convert_bounding_box_format(boxes, new_format="XYXY")
        sample["box"] = boxes.as_subclass(torch.Tensor).reshape(-1)[[1, 0, 3, 2]]
    return sample
