"""The registry of networks. To add one, add its file next to this one and one entry here; lists and tables follow.

A network declares its slots, see `bench.attention.slot`, and any mechanism can act in them. `width` scales its
channels: it is the number of channels of the first stage, and each network has its own default.
"""

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict

from bench.attention import NetworkSpec, resolve_network
from bench.attention.network import ATTRIBUTE
from bench.attention.slot import Layout
from bench.config import DEFAULT_WIDTH, RunConfig
from mnistref.common.errors import UsageProblemError, did_you_mean

if TYPE_CHECKING:
    from bench.networks.base import SlotNetwork

_HERE = "bench.networks."


class SlotDescription(TypedDict):
    """What lists say about a slot, see `bench.attention.slot.Slot`."""

    name: str
    channels: int
    size: list[int]
    kind: str


class NetworkDescription(TypedDict):
    """What lists say about a network, see `Network`. `params` are those without attention and query."""

    name: str
    paper: str
    summary: str
    width: int
    slots: list[SlotDescription]
    params: int


@dataclass(frozen=True)
class Network:
    """One entry of the registry.

    Attributes:
        name: the name that users write.
        summary: one line for lists and tables.
        paper: the source.
        target: "module:Class", a subclass of `bench.networks.base.SlotNetwork`.
        width: the default width.
    """

    name: str
    summary: str
    paper: str
    target: str
    width: int = 64

    @property
    def cls(self) -> "type[SlotNetwork]":
        """The class. It is imported on first access."""
        module, name = self.target.split(":")
        found: Any = getattr(import_module(module), name)
        return found  # type: ignore[no-any-return]

    def layout(self, width: int | None, size: tuple[int, int]) -> Layout:
        """Return the slots for images of size (H, W) in pixels; a width of None is the default."""
        return self.cls.layout_of(width or self.width, size)

    def describe(self, size: tuple[int, int] = (32, 32), classes: int = 10) -> NetworkDescription:
        """Return name, paper, summary, width, slots and parameters without attention and query, for lists.

        Args:
            size: (H, W) of the images in pixels.
            classes: number of classes.
        """
        import torch

        with torch.random.fork_rng(devices=[]):
            model = self.cls.create(resolve("none", network=self.name), classes, 0, size)
        layout = self.layout(None, size)
        slots: list[SlotDescription] = [
            {"name": s.name, "channels": s.channels, "size": [*s.size], "kind": s.kind} for s in layout.slots
        ]
        return {
            "name": self.name,
            "paper": self.paper,
            "summary": self.summary,
            "width": self.width,
            "slots": slots,
            "params": sum(parameter.numel() for parameter in model.parameters()),
        }


_ENTRIES = (
    Network(
        ATTRIBUTE,
        "four convolutions, a slot after each pooling",
        "ARNN suppl. Table 2; PAN Fig. 5",
        _HERE + "attribute:AttributeCNN",
        DEFAULT_WIDTH,
    ),
    Network(
        "resnet18",
        "ResNet-18 for small images, a slot inside each residual block",
        "ARNN §4.2; He et al. 2016",
        _HERE + "resnet18:ResNet18",
    ),
    Network("vgg", "VGG-16 with dropout, a slot after each pooling", "LTPA §4", _HERE + "vgg:VGG"),
    Network(
        "vgg-late",
        "the convolutions of vgg-att with late pooling, without a global feature for attention",
        "LTPA §4",
        _HERE + "vgg_late:LateVGG",
    ),
    Network(
        "vgg-att",
        "vgg with late pooling: three levels of local features, and a global feature g",
        "LTPA §4",
        _HERE + "vgg_att:AttentionVGG",
    ),
    Network(
        "vgg-pan",
        "the levels of vgg-att for progressive attention: its gates have no norm",
        "LTPA App. A.2",
        _HERE + "vgg_pan:ProgressiveVGG",
    ),
    Network(
        "vgg-gap",
        "VGG-19 with global average pooling, which has class activation maps",
        "LTPA §5; Zhou et al. 2016",
        _HERE + "vgg_gap:GapVGG",
    ),
    Network(
        "resnet164",
        "pre-activation ResNet-164 with bottlenecks, a slot inside each residual block",
        "LTPA App. A.2; He et al. 2016",
        _HERE + "resnet164:ResNet164",
        16,
    ),
)

NETWORKS: dict[str, Network] = {network.name: network for network in _ENTRIES}


def get_network(name: str) -> Network:
    """Return the network of that name.

    Raises:
        UsageProblemError: there is no such network.
    """
    if name not in NETWORKS:
        raise UsageProblemError(f"unknown network {name!r}: {did_you_mean(name, [*NETWORKS])}")
    return NETWORKS[name]


def resolve(
    attn: str, width: int | None = None, network: str = ATTRIBUTE, size: tuple[int, int] | None = None
) -> NetworkSpec:
    """Return the network that a slot list describes, see `bench.attention.resolve_network`.

    Args:
        attn: the slot list.
        width: scales the channels; None for the default of the network.
        network: its name.
        size: (H, W) of the images in pixels, if it is known. A list with too many names is then refused first.

    Raises:
        UsageProblemError: there is no such network, mechanism or option, or the slot list does not fit the network.
    """
    entry = get_network(network)
    # only the default network has slots whose number depends on the image size
    layout = None if size is None and network == ATTRIBUTE else entry.layout(width, size or (32, 32))
    return resolve_network(attn, width or entry.width, layout, entry.name)


def network_of(config: RunConfig) -> NetworkSpec:
    """Return the network of a configuration."""
    return resolve(config.attn, config.width, config.network)


def layout_of(network: NetworkSpec, size: tuple[int, int]) -> Layout:
    """Return the slots of a network for images of size (H, W) in pixels."""
    return get_network(network.architecture).layout(network.width, size)


def create(
    network: NetworkSpec, classes: int, queries: int, size: tuple[int, int], dropout: float = 0.5
) -> "SlotNetwork":
    """Return a network in training mode.

    Args:
        network: the network.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        size: (H, W) of the images in pixels.
        dropout: probability of the dropout before the classifier; ignored by networks without it.
    """
    with warnings.catch_warnings():
        if not queries:  # a layer for the question has no weights
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return get_network(network.architecture).cls.create(network, classes, queries, size, dropout)


__all__ = ["ATTRIBUTE", "NETWORKS", "Network", "create", "get_network", "layout_of", "network_of", "resolve"]
