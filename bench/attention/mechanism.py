"""A mechanism in the registry: its class, its options and the slots it acts in."""

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict

from bench.attention import user_code
from mnistref.common.atomic_files import working_directory_kept
from mnistref.common.errors import UsageProblemError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str
"""The value of an option, such as 5 in `arnn:context=5`."""
_SHIPPED = "bench.attention."
"""How the target of a mechanism of this project begins, such as "bench.attention.arnn:AttentionRNN"."""


class MechanismDescription(TypedDict):
    """What lists say about a mechanism, see `Mechanism`. `options` has the values as text."""

    name: str
    aliases: list[str]
    paper: str
    summary: str
    slots: str
    uses_query: bool
    options: dict[str, str]


@dataclass(frozen=True)
class Mechanism:
    """One entry of the registry.

    Attributes:
        name: the name that users write.
        summary: one line for lists and tables.
        paper: the source; for a user's mechanism, the file or the package.
        target: "module:Class", or the class itself; empty for no attention.
        options: arguments of the class.
        last_options: arguments that replace them in the last slot.
        last_only: whether it acts in the last slot only.
        aliases: other names.
        idle: arguments of the class that have no effect in this mechanism, and are therefore no options. For example,
            `sigma_scale` scales the noise of `arnn-sampled`, but `arnn` draws no noise.
        query_free: options with which it ignores the query; empty if there are none.
        former: options whose default has changed, and the defaults of earlier versions. `full_name` always states these
            options, so that a record that does not is of an earlier version, see `present_name`.
        chosen: options that a user gave. They override `options`, but not `last_options`.
        files: of a class from a file of the user, name → path of the file, and name/neighbour → path of each module
            that it imports from its folder. The name contains the digest of these files.
    """

    name: str
    summary: str
    paper: str
    target: Any = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    last_options: Mapping[str, Option] = field(default_factory=dict)
    last_only: bool = False
    aliases: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    query_free: Mapping[str, Option] = field(default_factory=dict)
    former: Mapping[str, Option] = field(default_factory=dict)
    chosen: Mapping[str, Option] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def cls(self) -> Any:
        """The class. It is imported on first access."""
        if not isinstance(self.target, str):
            return self.target
        module, name = self.target.split(":")
        if not self.shipped:
            user_code.add_module(module)
        try:
            return getattr(import_module(module), name)
        except (Exception, SystemExit) as error:
            if self.shipped and not isinstance(error, ImportError | AttributeError):
                raise
            why = user_code.describe_error(error)
            raise UsageProblemError(f"{self.name}: cannot be imported ({why}); reinstall {self.paper}") from error

    @property
    def shipped(self) -> bool:
        """Whether the class belongs to `bench`, rather than to a user's file or to another package."""
        return not self.target or (isinstance(self.target, str) and self.target.startswith(_SHIPPED))

    @property
    def uses_query(self) -> bool:
        """Whether the mechanism uses the query.

        If no mechanism in a network does, the query is appended before the classifier.
        """
        if self.query_free and self.query_free.items() <= self.parameters().items():
            return False
        return bool(self.target) and getattr(self.cls, "uses_query", True)

    @property
    def sampled(self) -> bool:
        """Whether its map is drawn at random in every forward pass."""
        return self.options.get("sampled") is True or (
            bool(self.target) and getattr(self.cls, "sampled", False) is True
        )

    @property
    def levels(self) -> int:
        """The number of slots whose vectors go to the classifier."""
        return int(self.parameters().get("levels", getattr(self.cls, "levels", 1))) if self.target else 1

    @property
    def head(self) -> str:
        """How the classifier reads the vectors of several slots: "concat", or "indep" for one classifier each."""
        return str(self.parameters().get("head", "concat")) if self.target and self.levels > 1 else "concat"

    @property
    def takes_level_channels(self) -> bool:
        """Whether the class reads several slots of different channels, and is told which by `level_channels`."""
        return bool(self.target) and "level_channels" in inspect.signature(self.cls).parameters

    @property
    def full_name(self) -> str:
        """The name with the chosen options, as it is written in records, for example `arnn:context=5:hidden=16`."""
        stated = {name: self.parameters()[name] for name in self.former} | dict(self.chosen)
        return ":".join([self.name, *(f"{k}={_format_option(v)}" for k, v in sorted(stated.items()))])

    def present_name(self, texts: Sequence[str]) -> str:
        """Return the present name of this mechanism in a record with these options, written as `name=value`."""
        stated = {text.partition("=")[0]: text for text in texts}
        former = {name: f"{name}={_format_option(value)}" for name, value in self.former.items()}
        return ":".join([self.name, *(text for _, text in sorted((former | stated).items()))])

    def describe(self) -> MechanismDescription:
        """Return name, aliases, paper, summary, slots, and options with their values, for lists."""
        slots = "none" if not self.target else f"last {self.levels}" if self.levels > 1 else "all"
        options = self.parameters() if self.target else {}
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "paper": self.paper,
            "summary": self.summary,
            "slots": "last" if self.last_only and self.levels == 1 else slots,
            "uses_query": self.uses_query,
            "options": {name: _format_option(value) for name, value in options.items()},
        }

    def parameters(self) -> dict[str, Option]:
        """Return all options and their values. In the last slot, `last_options` may replace a value."""
        known = {name: p.default for name, p in self._signature().items()}
        return known | {k: v for k, v in self.options.items() if k in known} | dict(self.chosen)

    def build_module(
        self, channels: int, query_dim: int, last: bool = False, inputs: Mapping[str, object] | None = None
    ) -> "nn.Module":
        """Construct the module for one slot. The working directory stays unchanged, whatever the class does.

        Args:
            channels: C, channels of the features.
            query_dim: Q, width of the one-hot query; 0 for none.
            last: whether it is for the last slot.
            inputs: further arguments for a class that takes `level_channels`, see `bench.attention.base.Readout`.

        Raises:
            UsageProblemError: the value of an option is not allowed, or a user's class raises.
        """
        options: dict[str, object] = {**self.options, **self.chosen, **(self.last_options if last else {})}
        known = inspect.signature(self.cls).parameters if inputs else {}
        options |= {name: value for name, value in (inputs or {}).items() if name in known}
        try:
            with nullcontext() if self.shipped else working_directory_kept():
                module: nn.Module = self.cls(channels, query_dim, **options)
                return module
        except (Exception, SystemExit) as error:
            if self.shipped and not self.chosen and not isinstance(error, ValueError | NotImplementedError):
                raise
            why = " ".join(str(error).split())[: user_code.MAX_CHARACTERS]
            if not self.shipped:
                why = f"Class({channels}, {query_dim}, …) raises {user_code.describe_error(error)}"
            raise UsageProblemError(f"{self.full_name}: {why}") from error

    def with_options(self, texts: Sequence[str]) -> "Mechanism":
        """Return the mechanism with options that a user wrote as `name=value`.

        Raises:
            UsageProblemError: there is no such option, or its value is not allowed.
        """
        if self.shipped and not texts:
            return self  # without an import of its class, which takes seconds
        known = self.parameters() if self.target else {}
        chosen = dict(self.chosen)
        for text in texts:
            name, _, value = text.partition("=")
            if name not in known:
                hint = did_you_mean(name, list(known)) if known else "it has no options"
                raise UsageProblemError(f"{self.name} has no option {name!r}: {hint}")
            parsed = _parse(value, known[name])
            if parsed is None:
                like = f"{name}={_format_option(known[name])} ({type(known[name]).__name__})"
                raise UsageProblemError(f"{self.name}: {text!r} is not of the form {like}")
            if wrong := _allowed_instead(parsed, self.shipped):
                raise UsageProblemError(f"{self.name}: {text!r} is not allowed; {wrong}")
            if parsed == self.options.get(name, self._signature()[name].default):
                chosen.pop(name, None)
            else:
                chosen[name] = parsed
        return replace(self, chosen=chosen)

    def _signature(self) -> dict[str, inspect.Parameter]:
        own = list(inspect.signature(self.cls).parameters.items())[2:]
        own = [(k, p) for k, p in own if k not in (*getattr(self.cls, "chosen_by_name", ()), *self.idle)]
        return {k: p for k, p in own if isinstance(p.default, bool | int | float | str)}


def _format_option(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _parse(text: str, like: Option) -> Option | None:
    """Return `text` as a value of the type of `like`; None if it cannot be converted."""
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return type(like)(text)
    except ValueError:
        return None


def _allowed_instead(value: Option, shipped: bool) -> str:
    """Return advice, such as "give 1 or more", if the value of an option is not allowed; otherwise an empty string.

    Integers below 1 and floats below 0 are only allowed for mechanisms of users, whose classes may accept them.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "give a finite number"
    if not shipped or isinstance(value, bool | str):
        return ""
    if isinstance(value, int):
        return "" if value >= 1 else "give 1 or more"
    return "" if value >= 0 else "give 0 or more"
