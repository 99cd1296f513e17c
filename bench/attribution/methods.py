"""The map methods by name. Imports no PyTorch, so that commands can list them.

A new method is a function with the decorator `bench.attribution.map_method.map_method` in a module of `_MODULES`.
"""

from bench.attribution import baselines, captum_methods, class_activation, own_map, rise
from bench.attribution.map_method import MapMethod
from mnistref.common.errors import UsageProblemError, did_you_mean

_MODULES = (own_map, class_activation, captum_methods, rise, baselines)

METHODS: dict[str, MapMethod] = {
    method.name: method for module in _MODULES for method in vars(module).values() if isinstance(method, MapMethod)
}
"""Each method by its name, in the order of tables: that of the modules, and of their functions."""
DEFAULT_METHODS = tuple(name for name, method in METHODS.items() if not method.is_slow)
"""The methods that `bench saliency` computes by default."""


def find_methods(names: str) -> list[MapMethod]:
    """Return the methods of a list of names, separated by commas; `all` for all of them.

    Raises:
        UsageProblemError: there is no such method, or one is named twice.
    """
    if names == "all":
        return list(METHODS.values())
    found: dict[str, MapMethod] = {}
    for name in names.split(","):
        if name in found:
            raise UsageProblemError(f"map method {name} is named twice")
        found[name] = find_method(name)
    return list(found.values())


def find_method(name: str) -> MapMethod:
    """Return the method of this name.

    Raises:
        UsageProblemError: there is no such method.
    """
    if name not in METHODS:
        raise UsageProblemError(f"no map method {name!r}: {did_you_mean(name, list(METHODS))}")
    return METHODS[name]
