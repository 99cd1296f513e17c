"""Query-conditioned attribute benchmarks with a mask for every digit.

>>> from mnistref import MnistRef
>>> dataset = MnistRef("data_cache/datasets/mbg-…", split="train")
"""

from mnistref.common.version import VERSION

__version__ = VERSION
TYPE_CHECKING = False  # as in typing, whose import would take longer than this module
if TYPE_CHECKING:
    from mnistref.dataset import MnistRef

__all__ = ["MnistRef", "__version__"]


def __getattr__(name: str) -> object:
    if name == "MnistRef":  # imported lazily, because it imports PyTorch
        from mnistref.dataset import MnistRef

        return MnistRef
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
