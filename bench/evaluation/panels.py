"""What a picture of attention shows, as tensors and words: the network's answer to one question about one image. Pure.

Shapes: H × W pixels of the image; the network's maps are (1, 1, h, w), shallow to deep.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.evaluation import unchecked_metrics as measures
from bench.evaluation.output_checks import unanswered, unfit_images
from bench.model import Output
from mnistref.spec import VariantSpec


@dataclass(frozen=True)
class Question:
    """One question about one image.

    `index`: the image's place in the split. `image` f4 (H, W, 3), 0 … 1. `inks`: right answer → bool (H, W), the ink of
    the digits that give it; several where the digit occurs in several colours. `scale`: of the digit asked about.
    """

    index: int
    image: Tensor
    query: int
    inks: dict[int, Tensor]
    scale: float


@dataclass(frozen=True)
class SlotMap:
    """The map of one slot: `slot` 1 … S, its own `size` (h, w), and `map` (H, W), upsampled, its maximum 1.

    `low`, `high`: between which its values lie; they sum to 1 in the last slot. `fault` says why there is no `map`,
    such as "not finite", and is "" where there is one.
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

    `image`, `index`, `scale` as in `Question`; `target` bool (H, W), the ink of all right answers. `product` (H, W),
    its maximum 1, and `correctness`, the share of it on the target, are None where the network has no map, or where
    `fault`, see `SlotMap`, says why its map cannot be measured; `area` is the target's share of the image, which is
    what a uniform map scores. `shares`: right answer → the share of the product on its ink; {} without a product.
    `prediction` and `probability` are None where the network's answer is not finite. `sample` counts from 1, `of` so
    many.
    """

    index: int
    scale: float
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
    of: int = 1
    fault: str = ""

    @property
    def right(self) -> bool:
        return self.prediction in self.truth


def panels(question: Question, out: Output, variant: VariantSpec, sample: int = 1, of: int = 1) -> Panels:
    """What to draw of a network's output for a batch of one. `variant` names queries and labels."""
    size = (question.image.shape[0], question.image.shape[1])
    prediction, probability = _answer(out.logits[0].float(), variant)
    target = _union(list(question.inks.values()))
    slots = [_slot(slot, mask, size) for slot, mask in zip(out.slots, out.masks, strict=True)]
    fault = next((slot.fault for slot in slots if slot.fault), "")
    product = measures.attended(out.masks, size, out.mask_power) if slots and not fault else None
    return Panels(
        index=question.index,
        scale=question.scale,
        image=question.image,
        question=in_words(variant, question.query),
        prediction=prediction,
        probability=probability,
        truth=tuple(variant.label_names[label] for label in sorted(question.inks)),
        target=target,
        slots=tuple(slots),
        product=None if product is None else _scaled(product),
        correctness=None if product is None else float(measures.share_on(product, target[None])),
        shares={
            variant.label_names[label]: float(measures.share_on(product, ink[None]))
            for label, ink in sorted(question.inks.items())
            if product is not None
        },
        area=float(measures.area_of(target[None])),
        sample=sample,
        of=of,
        fault=fault,
    )


def tally(rows: Sequence[Panels]) -> str:
    """Say how many answers are right, and how many answers and maps are no finite numbers."""
    parts = [f"{sum(row.right for row in rows)} of {len(rows)} answers right"]
    if none := sum(row.prediction is None for row in rows):
        parts.append(f"{none} {'is' if none == 1 else 'are'} not finite")
    for fault in sorted({row.fault for row in rows} - {""}):
        parts.append(f"maps {fault} in {sum(row.fault == fault for row in rows)}")
    return ", ".join(parts)


def _answer(logits: Tensor, variant: VariantSpec) -> tuple[str | None, float | None]:
    """The label that is said and its probability, or two None where the logits (K,) are no answer."""
    if unanswered(logits[None]).item():
        return None, None
    probabilities = logits.softmax(0)
    predicted = int(probabilities.argmax())
    return variant.label_names[predicted], float(probabilities[predicted])


def _slot(slot: int, mask: Tensor, size: tuple[int, int]) -> SlotMap:
    own = (mask.shape[2], mask.shape[3])
    fault = fault_of([mask])
    if fault:
        return SlotMap(slot, own, None, math.nan, math.nan, fault)
    return SlotMap(slot, own, _scaled(measures.attended([mask], size)), float(mask.min()), float(mask.max()))


def fault_of(masks: Sequence[Tensor]) -> str:
    """Say why the maps (1, 1, h, w) of an image cannot be measured; "" where they can, or where there are none."""
    odd, below = (bool(flag.any()) for flag in unfit_images(masks)) if masks else (False, False)
    return "not finite" if odd else "below zero" if below else ""


def in_words(variant: VariantSpec, query: int) -> str:
    """The question, as one asks a person."""
    name = variant.query_names[query]
    if variant.query == "color":
        return f"which digit is {name}?"
    return f"what colour is {'a' if variant.repeats[1] > 1 else 'the'} {name}?"


def _scaled(product: Tensor) -> Tensor:
    """The maps' product (1, H, W) as it is measured, divided by its maximum, (H, W)."""
    return product[0] / product[0].max()


def _union(inks: Sequence[Tensor]) -> Tensor:
    target = inks[0]
    for ink in inks[1:]:
        target = target | ink
    return target
