"""The type of a map method, the decorator that makes one, and the class that is explained. Pure. Imports no PyTorch.

Shapes: B questions, each about its own image of H × W pixels. A map is f4 (B, h, w), finite and not negative; h × w may
be smaller than the image, and the map is then upsampled as an attention map is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypedDict, Unpack

if TYPE_CHECKING:
    from torch import Tensor

    from bench.attribution.explained_network import ExplainedNetwork

PREDICTION, LABEL = "prediction", "label"
EXPLAINED = {PREDICTION: "the network's answer", LABEL: "the right answer"}
"""Which class is explained: the network's answer, or the right one."""

Compute: TypeAlias = "Callable[[ExplainedNetwork, Tensor, Tensor, Tensor], Tensor | None]"
"""(network, images f4 (B, 3, H, W), query i8 (B,), classes i8 (B,)) → maps; None if the network has no such map."""


@dataclass(frozen=True)
class MapMethod:
    """A method that gives a map for each question.

    Attributes:
        name: name on the command line and in records.
        compute: the function.
        summary: what it computes, one line.
        source: the paper, or "" for a baseline.
        is_baseline: whether the map ignores the network. A method that is not better than these shows nothing.
        is_slow: whether it needs hundreds of forward passes for each question.
        caution: when its scores are misleading; "" if no such case is known.
        on_black: whether the caution holds on a black background only.
        absence: what a network has if this method gives no map for it, as the end of a sentence.
    """

    name: str
    compute: Compute
    summary: str
    source: str = ""
    is_baseline: bool = False
    is_slow: bool = False
    caution: str = ""
    on_black: bool = False
    absence: str = "no map by this method"

    def __call__(self, network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor | None:
        """Return the maps."""
        return self.compute(network, images, query, classes)


class Details(TypedDict, total=False):
    """Further fields of `MapMethod`."""

    is_baseline: bool
    is_slow: bool
    caution: str
    on_black: bool
    absence: str


def map_method(summary: str, source: str = "", **details: Unpack[Details]) -> Callable[[Compute], MapMethod]:
    """Return a decorator that makes a function a map method, whose name is that of the function with hyphens.

    The arguments are those of `MapMethod`. A module with map methods imports PyTorch and Captum only in its functions.
    """

    def decorate(compute: Compute) -> MapMethod:
        return MapMethod(compute.__name__.replace("_", "-"), compute, summary, source, **details)

    return decorate
