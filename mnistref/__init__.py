"""Query-conditioned attribute benchmarks with a mask for every digit.

>>> import mnistref
>>> dataset = mnistref.load("mini", split="test")  # by name, or the folder of a data set
>>> dataset[0]["image"], dataset[0]["query"], dataset[0]["mask"]
"""

from mnistref.common.version import VERSION

__version__ = VERSION
TYPE_CHECKING = False  # as in typing, whose import would take longer than this module
if TYPE_CHECKING:
    from mnistref.api import generate, load
    from mnistref.dataset import MnistRef

__all__ = ["MnistRef", "__version__", "generate", "load"]

_MODULES = {"MnistRef": "mnistref.dataset", "generate": "mnistref.api", "load": "mnistref.api"}


def __getattr__(name: str) -> object:
    if name in _MODULES:  # imported lazily, because these modules import PyTorch
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
