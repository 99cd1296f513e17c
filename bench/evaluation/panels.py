"""The content of a picture of attention: the answer of a network to one question about one image, as tensors and text.

Pure. Shapes: H × W pixels of the image; the maps of the network are (1, 1, h, w), shallow to deep.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.evaluation import unchecked_metrics as metrics
from bench.evaluation.output_checks import unanswered, unfit_images
from bench.model import Output
from mnistref.spec import VariantSpec


@dataclass(frozen=True)
class ImageQuestion:
    """One question about one image.

    Attributes:
        index: index of the image in the split.
        image: f4 (H, W, 3) in 0 … 1.
        query: 0 … Q − 1.
        inks: right answer → bool (H, W), the ink of the digits with this answer. There are several if the digit occurs
            in several colours. Without masks, it is empty.
        scale: scale of the queried digit; None for a task.
    """

    index: int
    image: Tensor
    query: int
    inks: dict[int, Tensor]
    scale: float | None


@dataclass(frozen=True)
class SlotMap:
    """The map of one slot.

    Attributes:
        slot: 1 … S; 0 for the map of a map method.
        size: (h, w) of the map as the network gives it.
        map: (H, W), upsampled, with maximum 1; None if it cannot be measured.
        low: smallest value.
        high: largest value. (The values of the last slot sum to 1.)
        fault: why `map` is None, such as "not finite"; otherwise "".
    """

    slot: int
    size: tuple[int, int]
    map: Tensor | None
    low: float
    high: float
    fault: str = ""


@dataclass(frozen=True)
class Panels:
    """One row of a picture.

    Attributes:
        index: as in `ImageQuestion`.
        scale: as in `ImageQuestion`.
        image: as in `ImageQuestion`.
        question: the question in words.
        prediction: the label that the network answers; None if the answer is not finite.
        probability: of the prediction; None if the answer is not finite.
        truth: the labels of all right answers.
        target: bool (H, W), the ink of all right answers.
        slots: the map of each slot.
        product: (H, W), the product of the maps, with maximum 1. None if the network has no map, or if it has a
            `fault`.
        correctness: share of the product on the target; None if there is no product or no mask.
        shares: right answer → share of the product on its ink; {} without a product or a mask.
        area: the target's share of the image, which a uniform map scores.
        sample: number of this sample, from 1.
        samples: number of samples per image.
        fault: why the maps cannot be measured, see `SlotMap`.
    """

    index: int
    scale: float | None
    image: Tensor
    question: str
    prediction: str | None
    probability: float | None
    truth: tuple[str, ...]
    target: Tensor
    slots: tuple[SlotMap, ...]
    product: Tensor | None
    correctness: float | None
    shares: dict[str, float]
    area: float
    sample: int = 1
    samples: int = 1
    fault: str = ""

    @property
    def has_target(self) -> bool:
        """Whether the image has a mask."""
        return bool(self.target.any())

    @property
    def right(self) -> bool:
        """Whether the prediction is a right answer."""
        return self.prediction in self.truth


def make_panels(
    question: ImageQuestion, out: Output, variant: VariantSpec, sample: int = 1, samples: int = 1
) -> Panels:
    """Return the content of one row of a picture.

    Args:
        question: the question.
        out: the network's output for a batch of one image.
        variant: gives the names of queries and labels.
        sample: number of this sample, from 1.
        samples: number of samples per image.
    """
    size = (question.image.shape[0], question.image.shape[1])
    prediction, probability = _answer(out.logits[0].float(), variant)
    target = _union(list(question.inks.values()))
    slots = [_slot(slot, mask, size) for slot, mask in zip(out.slots, out.masks, strict=True)]
    fault = next((slot.fault for slot in slots if slot.fault), "")
    product = metrics.attended(out.masks, size, out.mask_power) if slots and not fault else None
    measured = product if bool(target.any()) else None
    return Panels(
        index=question.index,
        scale=question.scale,
        image=question.image,
        question=describe_question(variant, question.query),
        prediction=prediction,
        probability=probability,
        truth=tuple(variant.label_names[label] for label in sorted(question.inks)),
        target=target,
        slots=tuple(slots),
        product=None if product is None else _scaled(product),
        correctness=None if measured is None else float(metrics.share_on(measured, target[None])),
        shares={
            variant.label_names[label]: float(metrics.share_on(measured, ink[None]))
            for label, ink in sorted(question.inks.items())
            if measured is not None
        },
        area=float(metrics.area_of(target[None])),
        sample=sample,
        samples=samples,
        fault=fault,
    )


def describe_totals(rows: Sequence[Panels], with_number: bool = True) -> str:
    """Return how many answers are right, and how many answers and maps are not finite or negative.

    Args:
        rows: the answers.
        with_number: whether to include the number of answers.
    """
    right, of_all = sum(row.right for row in rows), f"of {len(rows)} " * with_number
    parts = [f"{right} {of_all}{'answer' if right == 1 and not with_number else 'answers'} right"]
    if none := sum(row.prediction is None for row in rows):
        parts.append(f"{none} {'is' if none == 1 else 'are'} not finite")
    for fault in sorted({row.fault for row in rows} - {""}):
        parts.append(f"maps {fault} in {sum(row.fault == fault for row in rows)}")
    return ", ".join(parts)


def _answer(logits: Tensor, variant: VariantSpec) -> tuple[str | None, float | None]:
    """Return the predicted label and its probability; two None if the logits (K,) are not finite."""
    if unanswered(logits[None]).item():
        return None, None
    probabilities = logits.softmax(0)
    predicted = int(probabilities.argmax())
    return variant.label_names[predicted], float(probabilities[predicted])


def _slot(slot: int, mask: Tensor, size: tuple[int, int]) -> SlotMap:
    """Return the map of a slot, upsampled to `size`."""
    map_size = (mask.shape[2], mask.shape[3])
    fault = describe_fault([mask])
    if fault:
        return SlotMap(slot=slot, size=map_size, map=None, low=math.nan, high=math.nan, fault=fault)
    return SlotMap(slot, map_size, _scaled(metrics.attended([mask], size)), float(mask.min()), float(mask.max()))


def describe_fault(masks: Sequence[Tensor]) -> str:
    """Return why the maps (1, 1, h, w) of an image cannot be measured; "" if they can, or if there are none."""
    odd, below = (bool(flag.any()) for flag in unfit_images(masks)) if masks else (False, False)
    return "not finite" if odd else "below zero" if below else ""


def describe_question(variant: VariantSpec, query: int) -> str:
    """Return the question in words. Of a variant without a query, it is that of the label."""
    if not variant.asks:
        return f"which {variant.label_noun} is it?"
    name = variant.query_names[query]
    if variant.query == "color":
        return f"which digit is {name}?"
    return f"what colour is {'a' if variant.repeats[1] > 1 else 'the'} {name}?"


def _scaled(product: Tensor) -> Tensor:
    """Return the product of the maps (1, H, W), divided by its maximum, as (H, W)."""
    return product[0] / product[0].max()


def _union(inks: Sequence[Tensor]) -> Tensor:
    target = inks[0]
    for ink in inks[1:]:
        target = target | ink
    return target
