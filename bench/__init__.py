"""bench: the attribute CNN of two papers with any attention mechanism, trained and measured alike.

>>> import bench
>>> model = bench.create_model("arnn", variant="mbg")
>>> out = model(images, query)  # out.logits, out.masks
"""

from typing import TYPE_CHECKING, Any

from mnistref.common.version import VERSION

if TYPE_CHECKING:
    from bench.model import AttributeCNN, create_model

__version__ = VERSION
__all__ = ["AttributeCNN", "__version__", "create_model"]


def __getattr__(name: str) -> Any:
    if name in ("create_model", "AttributeCNN"):  # torch is imported only by those who need a network
        import bench.model

        return getattr(bench.model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
