"""mnistref: query-conditioned attribute benchmarks with a mask for every digit.

>>> from mnistref import MnistRef
>>> dataset = MnistRef("data_cache/datasets/mbg-…", split="train")
"""

from mnistref.common.version import VERSION as __version__

TYPE_CHECKING = False  # as typing's, whose import takes longer than all of this
if TYPE_CHECKING:
    from mnistref.dataset import MnistRef

__all__ = ["MnistRef", "__version__"]


def __getattr__(name: str) -> object:
    if name == "MnistRef":  # torch is imported only by those who train
        from mnistref.dataset import MnistRef

        return MnistRef
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
