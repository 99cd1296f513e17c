"""The runs of the papers' tables on natural images, and their order. Pure."""

from collections.abc import Iterator
from typing import NamedTuple


class Group(NamedTuple):
    """Runs of several mechanisms in one network.

    Attributes:
        network: name of the network.
        attns: the mechanisms; the one that others are compared with is the first.
        recipe: name of the recipe.
    """

    network: str
    attns: tuple[str, ...]
    recipe: str


OWN = "cbam:reduction=16:norm=true:bias=true", "cbam-arnn:reduction=16:bias=true"
"""The channel attention of CBAM's own program, and its norm. The local context is 3 × 3, as in ARNN §4.2."""
ARNN_T4 = (
    Group("resnet18", ("none", "cbam", "cbam-arnn"), "cbam-cifar"),
    Group("resnet18", OWN, "cbam-cifar"),
)
LTPA_T1 = (
    Group("vgg", ("none",), "ltpa-vgg"),
    Group("vgg-late", ("none",), "ltpa-vgg"),
    Group("vgg-att", ("ltpa-pc:levels=2", "ltpa-pc", "ltpa-dp:levels=2"), "ltpa-vgg"),
    Group("resnet164", ("none", "ltpa-pc:levels=2"), "ltpa-resnet"),
    Group("vgg-pan", ("none+ltpa-pan",), "ltpa-vgg"),
    Group("vgg-gap", ("none",), "ltpa-vgg"),
    Group(
        "vgg-att",
        ("ltpa-dp:levels=1", "ltpa-pc:levels=1", "ltpa-dp:head=indep:levels=2", "ltpa-pc:head=indep:levels=2"),
        "ltpa-vgg",
    ),
)
"""`vgg-late` is the control with the compute of `vgg-att`, which the paper lacks."""
TABLES = {"arnn-t4": ARNN_T4, "ltpa-t1": LTPA_T1}
"""Names for --tables, and what they train."""


def steps(seeds: int, tables: tuple[str, ...], fast: bool) -> Iterator[tuple[int, Group]]:
    """Yield each seed and group: all groups of a seed before those of the next.

    Args:
        seeds: number of seeds.
        tables: keys of `TABLES`.
        fast: whether the short version of each recipe is used.
    """
    for seed in range(seeds):
        for table in tables:
            for group in TABLES[table]:
                yield seed, group._replace(recipe=f"{group.recipe}-fast") if fast else group
