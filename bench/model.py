"""Networks for variants: `create_model`, and the network of a run."""

from dataclasses import dataclass

import torch

from bench.attention import NetworkSpec
from bench.networks import ATTRIBUTE, create, resolve
from bench.networks.attribute import AttributeCNN, number_of_stages
from bench.networks.base import SlotNetwork
from bench.networks.heads import Head
from bench.networks.output import Output
from bench.pretrained import find_entry, load_pretrained
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant

__all__ = [
    "AttributeCNN",
    "CheckedNetwork",
    "Head",
    "Output",
    "SlotNetwork",
    "build",
    "count_parameters",
    "create_model",
    "number_of_stages",
]


@dataclass(frozen=True)
class CheckedNetwork:
    """A network that was checked before a run.

    Attributes:
        spec: the network.
        model: what the check has built: the network on the CPU with the initial weights of the run, which then does not
            build it again; None if the check has built nothing.
    """

    spec: NetworkSpec
    model: SlotNetwork | None = None


def create_model(
    attn: str | NetworkSpec,
    variant: str | None = None,
    *,
    classes: int = 5,
    queries: int = 10,
    size: tuple[int, int] = (100, 100),
    dropout: float = 0.5,
    width: int | None = None,
    pretrained: bool = False,
    network: str = ATTRIBUTE,
) -> SlotNetwork:
    """Return the network for a variant, or for a number of classes, of queries, and an image size.

    In the default network, images of 200 px and more get a fifth stage, as in the scalability study of ARNN. The
    network is in training mode; call `eval()` before it answers questions.

    Args:
        attn: the name of a mechanism, a slot list such as "none,arnn", or what `bench.networks.resolve` made of one.
        variant: the name of a variant, which then determines `classes`, `queries` and `size`.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        size: (H, W) of the images in pixels.
        dropout: probability of the dropout before the classifier; ignored by networks without it.
        width: channels of the first stage; None for the default of the network. A NetworkSpec has its own.
        pretrained: whether to load the trained weights for the variant, see `bench.list_models`. The file is found in
            `results/` of a checkout, or in the folder that the environment variable `BENCH_WEIGHTS` names.
        network: the name of the network around the mechanisms, see `bench.networks`. A NetworkSpec has its own.

    Raises:
        UsageProblemError: there is no such mechanism, network or variant, or no trained weights, and the message lists
            those that exist; or a slot list has more names than the network has slots.
        DataProblemError: the file of the weights is missing or damaged.
    """
    if variant is not None:
        known = get_variant(variant)
        classes, queries, size = known.classes, known.queries, (known.canvas, known.canvas)
    spec = attn if isinstance(attn, NetworkSpec) else resolve(attn, width, network, size)
    entry = find_entry(spec.name, variant, spec.width, spec.architecture) if pretrained else None
    model = create(spec, classes, queries, size, dropout)
    if entry is not None:
        load_pretrained(model, entry)
        model.to(memory_format=torch.channels_last)  # as in the test of the run, so that answers have the same bits
    return model


def build(
    attn: str | NetworkSpec, variant: VariantSpec, seed: int, device: torch.device, width: int | None = None
) -> SlotNetwork:
    """Return the network for a variant on its device, in channels last, with weights drawn from the seed."""
    torch.manual_seed(seed)
    size = (variant.canvas, variant.canvas)
    model = create_model(attn, classes=variant.classes, queries=variant.queries, size=size, width=width)
    return model.to(device).to(memory_format=torch.channels_last)


def count_parameters(attn: str, variant: str = "mbg") -> int:
    """Return the number of learned parameters of a network for a variant."""
    return sum(p.numel() for p in create_model(attn, variant).parameters())
