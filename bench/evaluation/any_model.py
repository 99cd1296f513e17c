"""Any module or function as a network that `bench.evaluation.evaluate` can test.

Shapes: B images of H × W pixels, K classes, maps of h × w.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.evaluation.output_checks import require_map_shapes
from bench.evaluation.plain_tensors import as_tensor
from bench.model import Output, SlotNetwork

Model = Callable[..., object]
"""A module or function: images f4 (B, 3, H, W) in 0 … 1, and query i8 (B,) unless they have none → see `AnyModel`."""

_EXPECTED = "return logits (B, {classes}), (logits, map), (logits, [maps]), or maps alone, (B, h, w) or (B, 1, h, w)"


class AnyModel(nn.Module):
    """A network whose answers are those of a module or function.

    What it returns for B images and queries may be

    - logits (B, K);
    - (logits, map) or (logits, [maps]), maps shallow to deep, (B, h, w) or (B, 1, h, w) each, not negative;
    - a map or a list of maps, without answers;
    - anything with the attribute `logits`, and perhaps `masks`, such as `bench.model.Output`.

    Tensors and NumPy arrays are accepted. A module runs without gradients. A function runs with gradients enabled, so
    that it can compute maps such as Grad-CAM; its images do not share memory with the data set.

    Args:
        model: the module or function.
        classes: K.
        asks: whether images have a question. Without one, the model is called with images alone.

    Attributes:
        has_answers: whether the model returned logits; None before the first batch.
        keeps_gradients: whether the logits keep their graph, as gradients of the images need it.
    """

    def __init__(self, model: Model, classes: int, asks: bool = True) -> None:
        super().__init__()
        self.model, self.classes, self.asks = model, classes, asks
        self.has_answers: bool | None = None
        self.keeps_gradients = False

    def forward(self, images: Tensor, query: Tensor, image_index: Tensor | None = None) -> Output:
        """Return the output for the questions. Images are repeated if several questions share them.

        Raises:
            ValueError: the output has a wrong type or shape. The message names what is expected.
        """
        images = (images if image_index is None else images[image_index]).contiguous()
        if isinstance(self.model, nn.Module):
            returned = self.model(*((images, query) if self.asks else (images,)))
        else:
            with torch.inference_mode(False), torch.enable_grad():
                images = images if self.keeps_gradients else images.clone()
                returned = self.model(*((images, query.clone()) if self.asks else (images,)))
        logits, maps, others = _split(returned, self.classes, self.keeps_gradients)
        if self.has_answers not in (None, logits is not None):
            raise ValueError("the model returned logits for some batches only; return them for all or for none")
        self.has_answers = logits is not None
        logits = images.new_zeros(len(images), self.classes) if logits is None else logits.to(images.device)
        self._require_logits_shape(logits, len(images))
        masks = [mask.to(images.device) for mask in maps]
        if masks:
            require_map_shapes(masks, len(images), (images.shape[2], images.shape[3]))
        return Output(logits, masks, slots=tuple(range(1, len(masks) + 1)))._replace(**others)

    def _require_logits_shape(self, logits: Tensor, images: int) -> None:
        if logits.ndim != 2 or tuple(logits.shape) != (images, self.classes):
            raise ValueError(
                f"the logits have shape {tuple(logits.shape)}, expected ({images}, {self.classes}): one number for "
                f"each image and class; {_EXPECTED.format(classes=self.classes)}"
            )


def as_network(model: Model, classes: int, asks: bool = True) -> nn.Module:
    """Return a network of bench as it is, and any other model as `AnyModel`.

    Args:
        model: the model.
        classes: K.
        asks: whether images have a question.

    Raises:
        ValueError: the model cannot be called.
    """
    if isinstance(model, SlotNetwork | AnyModel):
        return model
    if not callable(model):
        raise ValueError(f"a model as {type(model).__name__}: pass a module or a function of (images, query)")
    return AnyModel(model, classes, asks)


def require_fitting(model: Model, classes: int, queries: int) -> None:
    """Raise ValueError if a network of bench was made for other numbers of classes or queries."""
    if isinstance(model, SlotNetwork) and (model.classes, model.queries) != (classes, queries):
        raise ValueError(
            f"the network has {model.queries} queries and {model.classes} classes, but the data set has {queries} and "
            f"{classes}: pass a data set or a network with the same numbers"
        )


def _split(
    returned: object, classes: int, keeps_gradients: bool = False
) -> tuple[Tensor | None, list[Tensor], dict[str, Any]]:
    """Return the logits or None, the maps (B, 1, h, w) each, and further fields of `Output`."""
    if hasattr(returned, "logits"):
        maps = getattr(returned, "masks", None)
        others = {name: getattr(returned, name) for name in ("last_mask", "mask_power") if hasattr(returned, name)}
        return _floats(returned.logits, "the logits", keeps_gradients), _maps([] if maps is None else maps), others
    parts: Sequence[object] = returned if isinstance(returned, list | tuple) else [returned]
    sizes = [getattr(part, "ndim", None) for part in parts]
    if sizes == [2]:
        return _floats(parts[0], "the logits", keeps_gradients), [], {}
    if sizes and set(sizes) <= {3, 4}:
        return None, _maps(parts), {}
    if len(parts) == 2 and sizes[0] == 2:
        return _floats(parts[0], "the logits", keeps_gradients), _maps([] if parts[1] is None else parts[1]), {}
    raise ValueError(f"the model returned {_describe(returned)}; {_EXPECTED.format(classes=classes)}")


def _maps(returned: object) -> list[Tensor]:
    """Return maps as a list of (B, 1, h, w). Other shapes are left for `require_map_shapes`."""
    maps = [
        _floats(part, f"map {k}")
        for k, part in enumerate(returned if isinstance(returned, list | tuple) else [returned], 1)
    ]
    return [mask.unsqueeze(1) if mask.ndim == 3 else mask for mask in maps]


def _floats(value: object, label: str, keeps_gradients: bool = False) -> Tensor:
    tensor = as_tensor(value, label)
    tensor = tensor if keeps_gradients else tensor.detach()
    return tensor if tensor.is_floating_point() else tensor.float()


def _describe(returned: object) -> str:
    """Return type and shape of an output, for messages."""
    if isinstance(returned, list | tuple):
        return f"a {type(returned).__name__} of {len(returned)}: {', '.join(map(_describe, returned[:4]))}"
    if hasattr(returned, "shape"):
        return f"{type(returned).__name__} {tuple(returned.shape)}"
    return f"a {type(returned).__name__}"
