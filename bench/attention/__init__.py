"""The place for a mechanism: its file beside this one, and one entry here. Lists, tests and tables follow.

A network is described by a slot list, shallow to deep, whose last name repeats: `none,arnn` is nothing in the first
slot and AttentionRNN in the others. A mechanism made for the last slot alone leaves the slots before it empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnistref.errors import UsageProblemError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from bench.attention.arnn import AttentionRNN
    from bench.attention.pan import QueryScore

NONE = "none"


@dataclass(frozen=True)
class Mechanism:
    """One entry. `target` is "module:Class"; `options` are its arguments, `last_options` those at the last slot."""

    name: str
    summary: str
    paper: str
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    last_options: Mapping[str, Any] | None = None
    last_only: bool = False
    aliases: tuple[str, ...] = ()

    def score(self, channels: int, query_dim: int, last: bool) -> "nn.Module":
        """The module for one slot."""
        module, name = self.target.split(":")
        options = self.last_options if last and self.last_options is not None else self.options
        return getattr(import_module(module), name)(channels, query_dim, **options)


_ENTRIES = (
    Mechanism(NONE, "no attention: average pooling, the query appended", "baseline"),
    Mechanism("san", "soft attention in the last slot", "PAN App. A", "bench.attention.pan:QueryScore", last_only=True),
    Mechanism(
        "pan", "progressive attention in every slot", "PAN §3.1", "bench.attention.pan:QueryScore", aliases=("noctx",)
    ),
    Mechanism(
        "pan-ctx",
        "progressive attention with 3×3 local context",
        "PAN §3.3",
        "bench.attention.pan:QueryScore",
        options={"kernel": 3},
        last_options={"kernel": 1},
        aliases=("ctx",),
    ),
    Mechanism("arnn", "structured attention by two diagonal LSTMs", "ARNN §3.1", "bench.attention.arnn:AttentionRNN"),
)

MECHANISMS: dict[str, Mechanism] = {m.name: m for m in _ENTRIES}
_ALIASES = {alias: m.name for m in _ENTRIES for alias in m.aliases}


def get_mechanism(name: str) -> Mechanism:
    """The mechanism of that name or alias; an unknown one is a usage error that lists the known."""
    name = _ALIASES.get(name, name)
    if name not in MECHANISMS:
        raise UsageProblemError(f"unknown mechanism {name!r}: {did_you_mean(name, list(MECHANISMS))}")
    return MECHANISMS[name]


def canonical_name(attn: str) -> str:
    """`attn` as it is written in records: aliases resolved, no spaces, no repetition of the last name.

    A mechanism made for the last slot, named before it, is a usage error.
    """
    names = [get_mechanism(name.strip()).name for name in attn.split(",")]
    for name in names[:-1]:
        if MECHANISMS[name].last_only:
            raise UsageProblemError(f"{attn!r}: {name} acts in the last slot alone; name it last")
    if MECHANISMS[names[-1]].last_only and set(names[:-1]) == {NONE}:
        names = names[-1:]
    while len(names) > 1 and names[-1] == names[-2]:
        names.pop()
    return ",".join(names)


def slots_of(attn: str, stages: int) -> list[Mechanism]:
    """The mechanism of each slot, shallow to deep."""
    names = canonical_name(attn).split(",")
    if len(names) > stages:
        raise UsageProblemError(f"{attn!r} names {len(names)} slots; this network has {stages}")
    named = [MECHANISMS[name] for name in names + names[-1:] * (stages - len(names))]
    return [MECHANISMS[NONE] if m.last_only and k < stages - 1 else m for k, m in enumerate(named)]


def __getattr__(name: str) -> Any:
    targets = {m.target.split(":")[1]: m.target for m in _ENTRIES if m.target}
    if name in targets:
        return getattr(import_module(targets[name].split(":")[0]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["MECHANISMS", "AttentionRNN", "Mechanism", "QueryScore", "canonical_name", "get_mechanism", "slots_of"]
