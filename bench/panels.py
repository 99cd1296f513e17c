"""What a picture of attention shows, as tensors and words: the network's answer to one question about one image. Pure.

Shapes: H × W pixels of the image; the network's maps are (1, 1, h, w), shallow to deep.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.metrics import attended, mask_area, mask_correctness
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

    `low`, `high`: between which its values lie; they sum to 1 in the last slot.
    """

    slot: int
    size: tuple[int, int]
    map: Tensor
    low: float
    high: float


@dataclass(frozen=True)
class Panels:
    """One row of a picture.

    `image`, `index`, `scale` as in `Question`; `target` bool (H, W), the ink of all right answers. `product` (H, W),
    its maximum 1, and `correctness`, the share of it on the target, are None where the network has no map; `area` is
    the target's share of the image, which is what a uniform map scores. `shares`: right answer → the share of the
    product on its ink; {} without a map. `sample` counts from 1, `of` so many.
    """

    index: int
    scale: float
    image: Tensor
    question: str
    prediction: str
    probability: float
    truth: tuple[str, ...]
    target: Tensor
    slots: tuple[SlotMap, ...]
    product: Tensor | None
    correctness: float | None
    shares: dict[str, float]
    area: float
    sample: int = 1
    of: int = 1

    @property
    def right(self) -> bool:
        return self.prediction in self.truth


def panels(question: Question, out: Output, variant: VariantSpec, sample: int = 1, of: int = 1) -> Panels:
    """What to draw of a network's output for a batch of one. `variant` names queries and labels."""
    size = (question.image.shape[0], question.image.shape[1])
    probabilities = out.logits[0].float().softmax(0)
    predicted = int(probabilities.argmax())
    target = _union(list(question.inks.values()))
    shares = {
        variant.label_names[label]: float(mask_correctness(out.masks, ink[None], out.mask_power))
        for label, ink in sorted(question.inks.items())
        if out.masks
    }
    slots = [
        SlotMap(slot, (mask.shape[2], mask.shape[3]), _scaled([mask], size), float(mask.min()), float(mask.max()))
        for slot, mask in zip(out.slots, out.masks, strict=True)
    ]
    return Panels(
        index=question.index,
        scale=question.scale,
        image=question.image,
        question=in_words(variant, question.query),
        prediction=variant.label_names[predicted],
        probability=float(probabilities[predicted]),
        truth=tuple(variant.label_names[label] for label in sorted(question.inks)),
        target=target,
        slots=tuple(slots),
        product=_scaled(out.masks, size, out.mask_power) if out.masks else None,
        correctness=float(mask_correctness(out.masks, target[None], out.mask_power)) if out.masks else None,
        shares=shares,
        area=float(mask_area(target[None])),
        sample=sample,
        of=of,
    )


def in_words(variant: VariantSpec, query: int) -> str:
    """The question, as one asks a person."""
    name = variant.query_names[query]
    if variant.query == "color":
        return f"which digit is {name}?"
    return f"what colour is {'a' if variant.repeats[1] > 1 else 'the'} {name}?"


def _scaled(masks: Sequence[Tensor], size: tuple[int, int], power: float = 1.0) -> Tensor:
    """The maps' product as it is measured, (H, W), divided by its maximum."""
    product = attended(masks, size, power)[0]
    return product / product.max()


def _union(inks: Sequence[Tensor]) -> Tensor:
    target = inks[0]
    for ink in inks[1:]:
        target = target | ink
    return target
