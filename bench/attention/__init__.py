"""The registry of mechanisms. To add one, add its file next to this one and one entry here; lists and tables follow.

The mechanisms of a network are a slot list, shallow to deep, whose last name repeats: `none,arnn` has no attention in
the first slot and AttentionRNN in the others. A mechanism for the last slot only leaves the other slots empty. Options
follow a name: `arnn:hidden=16:context=5`.

Users can also name mechanisms of installed packages (entry-point group `bench.attention`), and classes in their own
files (`path/to/file.py:Class`).
"""

from typing import TYPE_CHECKING, Any

from bench.attention.mechanism import Mechanism
from bench.attention.network import ATTRIBUTE, NetworkSpec, require_slots_exist
from bench.attention.plugins import installed, is_user_class, load_user_class
from bench.attention.slot import Layout
from mnistref.common.errors import UsageProblemError, did_you_mean

if TYPE_CHECKING:
    from bench.attention.arnn import AttentionRNN
    from bench.attention.pan import QueryScore

NONE = "none"
_HERE = "bench.attention."
_SAMPLED = "its value drawn from the Gaussian, at test too"

_ENTRIES = (
    Mechanism(NONE, "no attention: average pooling, the query appended", "baseline"),
    Mechanism("san", "soft attention in the last slot", "PAN App. A", _HERE + "pan:QueryScore", last_only=True),
    Mechanism(
        "han",
        "hard attention: every position answers, by marginal likelihood",
        "PAN §4.1; Xu et al. 2015",
        _HERE + "han:HardReadout",
        last_only=True,
    ),
    Mechanism(
        "stn-s",
        "a spatial transformer in the last slot",
        "PAN §4.1; Jaderberg et al. 2015",
        _HERE + "stn:SpatialTransformer",
        last_only=True,
    ),
    Mechanism(
        "stn-m",
        "a spatial transformer in every slot",
        "PAN §4.1; Jaderberg et al. 2015",
        _HERE + "stn:SpatialTransformer",
    ),
    Mechanism("pan", "progressive attention in every slot", "PAN §3.1", _HERE + "pan:QueryScore", aliases=("noctx",)),
    Mechanism(
        "pan-ctx",
        "progressive attention with 3×3 local context",
        "PAN §3.3",
        _HERE + "pan:QueryScore",
        options={"kernel": 3},
        last_options={"kernel": 1},
        aliases=("ctx",),
    ),
    Mechanism(
        "arnn",
        "structured attention by two diagonal LSTMs",
        "ARNN §3.1",
        _HERE + "arnn:AttentionRNN",
        idle=("sigma_scale",),
    ),
    Mechanism(
        "arnn-sampled",
        f"arnn, {_SAMPLED}",
        "ARNN §3.1 (ARNN~)",
        _HERE + "arnn:AttentionRNN",
        options={"sampled": True},
    ),
    Mechanism(
        "arnn-ind",
        "arnn, the two sides combined as independent Gaussians",
        "ARNN §3.2",
        _HERE + "arnn:AttentionRNN",
        options={"independent": True},
        idle=("sigma_scale",),
    ),
    Mechanism(
        "arnn-ind-sampled",
        f"arnn-ind, {_SAMPLED}",
        "ARNN §3.2 (ARNN~ind)",
        _HERE + "arnn:AttentionRNN",
        options={"independent": True, "sampled": True},
    ),
    Mechanism("brnn2", "arnn on blocks of 2×2", "ARNN §3.3", _HERE + "brnn:BlockAttentionRNN"),
    Mechanism("brnn3", "arnn on blocks of 3×3", "ARNN §3.3", _HERE + "brnn:BlockAttentionRNN", options={"block": 3}),
    Mechanism("unet2", "a U-Net of depth 2", "ARNN suppl. §1", _HERE + "unet:UNetScore"),
    Mechanism("unet3", "a U-Net of depth 3", "ARNN suppl. §1", _HERE + "unet:UNetScore", options={"depth": 3}),
    Mechanism("unet2-arnn", "arnn over a U-Net of depth 2", "ARNN suppl. §1", _HERE + "unet:UNetAttentionRNN"),
    Mechanism(
        "unet3-arnn",
        "arnn over a U-Net of depth 3",
        "ARNN suppl. §1",
        _HERE + "unet:UNetAttentionRNN",
        options={"depth": 3},
    ),
    Mechanism("cbam", "attention over channels, then places", "ARNN §4.2; Woo et al. 2018", _HERE + "cbam:CBAM"),
    Mechanism("cbam-arnn", "attention over channels, then arnn", "ARNN §4.2", _HERE + "cbam:CBAMAttentionRNN"),
    Mechanism(
        "ltpa-dp",
        "local features weighed by their product with the global one, last 3 slots",
        "LTPA §3",
        _HERE + "ltpa:GlobalLocalReadout",
        last_only=True,
        idle=("linear",),
    ),
    Mechanism(
        "ltpa-pc",
        "local features weighed by ⟨u, l + g⟩, last 3 slots; the softmax cancels g, so the map ignores the question",
        "LTPA §3",
        _HERE + "ltpa:GlobalLocalReadout",
        options={"compatibility": "parametrised", "linear": True},
        last_only=True,
        query_free={"linear": True},
        former={"linear": False},
    ),
    Mechanism(
        "ltpa-pan",
        "⟨u, l + g⟩ in every slot, with a global feature g of each gate",
        "LTPA App. A.2",
        _HERE + "ltpa_pan:GlobalScore",
        last_options={"tail": False},
    ),
    Mechanism("se", "squeeze and excitation of channels", "Hu et al. 2018", _HERE + "channel:SqueezeExcite"),
    Mechanism("eca", "efficient channel attention", "Wang et al. 2020", _HERE + "channel:EfficientChannelAttention"),
    Mechanism("coord", "coordinate attention", "Hou et al. 2021", _HERE + "channel:CoordinateAttention"),
    Mechanism("film", "scale and shift of channels by the query", "Perez et al. 2018", _HERE + "channel:FiLM"),
    Mechanism(
        "self",
        "multi-head self-attention over positions and the query",
        "Vaswani et al. 2017",
        _HERE + "selfattention:SelfAttentionReadout",
        last_only=True,
    ),
)

MECHANISMS: dict[str, Mechanism] = {m.name: m for m in _ENTRIES}
_ALIASES = {alias: m.name for m in _ENTRIES for alias in m.aliases}


def known_mechanisms() -> dict[str, Mechanism]:
    """Return the mechanisms of this registry and of installed packages, by name."""
    return {**installed(), **MECHANISMS}


def names_user_module(attn: str) -> bool:
    """Return whether a slot list names a class in a file or in another package. Nothing is imported."""
    names = [name.strip() for name in attn.split(",")]
    bare = [name.partition(":")[0] for name in names]
    return any(map(is_user_class, names)) or any(
        name not in MECHANISMS and name not in _ALIASES and name in installed() for name in bare
    )


def get_mechanism(name: str) -> Mechanism:
    """Return the mechanism with a name or alias, or from a file, with the options that follow the name.

    Raises:
        UsageProblemError: there is no such mechanism, or an option or its value is not allowed.
    """
    if is_user_class(name):
        return load_user_class(name)
    name, *options = name.split(":")
    name = _ALIASES.get(name, name)
    found = MECHANISMS.get(name) or installed().get(name)
    if not found:
        if "/" in name:
            raise UsageProblemError(
                f"{name}: not path/to/file.py:Class; a comma separates slots, so a path must not contain one"
            )
        known = [*known_mechanisms()]
        raise UsageProblemError(f"unknown mechanism {name!r}: {did_you_mean(name, known)}, or path/to/file.py:Class")
    return found.with_options(options)


def resolve_network(attn: str, width: int, layout: Layout | None = None, architecture: str = ATTRIBUTE) -> NetworkSpec:
    """Return the network that a slot list describes. Files of the user that it names are executed.

    Aliases are resolved; in the name, spaces and repetitions of the last mechanism are removed. If the network has
    slots inside residual blocks and the list names every slot, repetitions stay, because only such a list names the
    readout, see `NetworkSpec.fill`.

    Args:
        attn: the slot list.
        width: scales the channels of the network, see `bench.networks`.
        layout: the slots of the network, if they are known. A list with more names is refused before it is read.
        architecture: name of the network in `bench.networks`, whose function `resolve` gives the layout.

    Raises:
        UsageProblemError: there are too many names, there is no such mechanism or option, or a mechanism for the last
            slot only is named before the last slot.
    """
    if layout is not None:
        require_slots_exist(attn, len(attn.split(",")), len(layout.slots))
    slots = [get_mechanism(name.strip()) for name in attn.split(",")]
    for slot in slots[:-1]:
        if slot.last_only:
            raise UsageProblemError(f"{attn!r}: {slot.name} acts in the last slot only; name it last")
    names_readout = layout is not None and layout.has_blocks and len(slots) == len(layout.slots)
    if names_readout and slots[-1].full_name == NONE:  # the readout has no attention anyway
        slots, names_readout = slots[:-1], False
    written = len(slots)
    if slots[-1].last_only and {slot.full_name for slot in slots[:-1]} == {NONE}:
        slots = slots[-1:]
    while len(slots) > 1 and slots[-1].full_name == slots[-2].full_name and not names_readout:
        slots.pop()
    name = ",".join(slot.full_name for slot in slots)
    files = {key: path for slot in slots for key, path in slot.files.items()}
    return NetworkSpec(name, width, tuple(slots), MECHANISMS[NONE], written, architecture=architecture, files=files)


def canonical_name(attn: str) -> str:
    """Return a slot list as it is written in records.

    Raises:
        UsageProblemError: see `resolve_network`.
    """
    return resolve_network(attn, 0).name


def present_name(attn: str) -> str:
    """Return the present name of a network in a record, which an earlier version may have written.

    Options whose default has changed get the value that they had when the record was written.

    Args:
        attn: the slot list of the record. Files that it names are not imported.
    """
    slots = []
    for slot in attn.split(","):
        name, *options = slot.split(":")
        known = MECHANISMS.get(name)
        slots.append(known.present_name(options) if known and known.former else slot)
    return ",".join(slots)


def split_networks(text: str) -> list[str]:
    """Return the slot lists in a list of networks, such as "san,none+arnn".

    A comma separates networks, and + separates slots.

    Raises:
        UsageProblemError: a name is empty.
    """
    networks = [network.strip().replace("+", ",") for network in text.split(",")]
    if not all(networks):
        raise UsageProblemError(f"{text!r}: a name is missing before or after a comma")
    return networks


def canonical_names(text: str) -> list[str]:
    """Return the slot lists in a list of networks, as they are written in records."""
    return [canonical_name(network) for network in split_networks(text)]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    targets = {m.target.split(":")[1]: m.target.split(":")[0] for m in _ENTRIES if m.target}
    if name in targets:
        return getattr(import_module(targets[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "MECHANISMS",
    "AttentionRNN",
    "Mechanism",
    "NetworkSpec",
    "QueryScore",
    "canonical_name",
    "canonical_names",
    "get_mechanism",
    "known_mechanisms",
    "names_user_module",
    "present_name",
    "resolve_network",
    "split_networks",
]
