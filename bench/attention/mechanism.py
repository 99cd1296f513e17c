"""A mechanism as the registry has it: which class, with which options, in which slots."""

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnistref.common.atomic_files import working_directory_kept
from mnistref.common.errors import UsageProblemError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

Option = bool | int | float | str
_SHIPPED = "bench.attention."


@dataclass(frozen=True)
class Mechanism:
    """One entry. `target` is "module:Class" or the class; `options` are its arguments, `last_options` at the last slot.

    `chosen` holds the options that a user gave: they go before `options`, and `last_options` before them. `idle` are
    arguments of the class that do nothing here, and are no options.
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
    chosen: Mapping[str, Option] = field(default_factory=dict)

    @property
    def cls(self) -> Any:
        """The class, imported."""
        if not isinstance(self.target, str):
            return self.target
        module, name = self.target.split(":")
        try:
            return getattr(import_module(module), name)
        except (Exception, SystemExit) as error:
            if self.shipped and not isinstance(error, ImportError | AttributeError):
                raise
            raise UsageProblemError(f"{self.name}: cannot be imported ({error}); install {self.paper} anew") from error

    @property
    def shipped(self) -> bool:
        """Whether it is one of `bench`, and neither of a user's file nor of another package."""
        return not self.target or (isinstance(self.target, str) and self.target.startswith(_SHIPPED))

    @property
    def uses_query(self) -> bool:
        """Whether the mechanism looks at the query; a network in which none does appends it before the classifier."""
        return bool(self.target) and getattr(self.cls, "uses_query", True)

    @property
    def sampled(self) -> bool:
        """Whether its map is drawn anew in every forward pass."""
        return self.options.get("sampled") is True or (
            bool(self.target) and getattr(self.cls, "sampled", False) is True
        )

    @property
    def levels(self) -> int:
        """How many slots give a vector to the classifier."""
        return int(self.parameters().get("levels", getattr(self.cls, "levels", 1))) if self.target else 1

    @property
    def spelled(self) -> str:
        """The name with the options chosen, as it is written in records: arnn:context=5:hidden=16."""
        return ":".join([self.name, *(f"{k}={_text(v)}" for k, v in sorted(self.chosen.items()))])

    def describe(self) -> dict[str, Any]:
        """For lists: name, aliases, paper, summary, slots, and options with their values."""
        slots = "none" if not self.target else f"last {self.levels}" if self.levels > 1 else "all"
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "paper": self.paper,
            "summary": self.summary,
            "slots": "last" if self.last_only and self.levels == 1 else slots,
            "uses_query": self.uses_query,
            "options": {name: _text(value) for name, value in self.parameters().items()} if self.target else {},
        }

    def parameters(self) -> dict[str, Option]:
        """Every option and its value, at the slots before the last."""
        known = {name: p.default for name, p in self._signature().items()}
        return known | {k: v for k, v in self.options.items() if k in known} | dict(self.chosen)

    def make(self, channels: int, query_dim: int, last: bool = False) -> "nn.Module":
        """The module for one slot. A usage error where an option's value makes no sense, or a user's class fails.

        The working directory stays what it is, whatever the class does.
        """
        options = {**self.options, **self.chosen, **(self.last_options if last else {})}
        try:
            with nullcontext() if self.shipped else working_directory_kept():
                return self.cls(channels, query_dim, **options)
        except (Exception, SystemExit) as error:
            if self.shipped and not self.chosen and not isinstance(error, ValueError | NotImplementedError):
                raise
            why = " ".join(str(error).split())[:300]
            if not self.shipped:
                why = f"cannot be made as Class({channels}, {query_dim}, …): {type(error).__name__}: {why}"
            raise UsageProblemError(f"{self.spelled}: {why}") from error

    def choose(self, texts: Sequence[str]) -> "Mechanism":
        """The same with options as a user wrote them, `name=value`; a usage error for what makes no sense."""
        known = self.parameters() if self.target else {}
        chosen = dict(self.chosen)
        for text in texts:
            name, _, value = text.partition("=")
            if name not in known:
                hint = did_you_mean(name, list(known)) if known else "it has none"
                raise UsageProblemError(f"{self.name} has no option {name!r}: {hint}")
            read = _read(value, known[name])
            if read is None:
                like = f"{name}={_text(known[name])} ({type(known[name]).__name__})"
                raise UsageProblemError(f"{self.name}: {text!r} is not of the form {like}")
            if wrong := _wrong(read, self.shipped):
                raise UsageProblemError(f"{self.name}: {text!r} makes no sense; {wrong}")
            if read == self.options.get(name, self._signature()[name].default):
                chosen.pop(name, None)
            else:
                chosen[name] = read
        return replace(self, chosen=chosen)

    def _signature(self) -> dict[str, inspect.Parameter]:
        own = list(inspect.signature(self.cls).parameters.items())[2:]
        own = [(k, p) for k, p in own if k not in (*getattr(self.cls, "chosen_by_name", ()), *self.idle)]
        return {k: p for k, p in own if isinstance(p.default, bool | int | float | str)}


def _text(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _read(text: str, like: Option) -> Option | None:
    """`text` as a value of `like`'s type; None where it is not one."""
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return type(like)(text)
    except ValueError:
        return None


def _wrong(value: Option, shipped: bool) -> str:
    """What to give instead of a value that no mechanism could do with. In a user's own, 0 and less may have a sense."""
    if isinstance(value, float) and not math.isfinite(value):
        return "give a finite number"
    if not shipped or isinstance(value, bool | str):
        return ""
    if isinstance(value, int):
        return "" if value >= 1 else "give 1 or more"
    return "" if value >= 0 else "give 0 or more"
