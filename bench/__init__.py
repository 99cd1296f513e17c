"""bench: the attribute CNN of two papers with any attention mechanism, trained and measured alike.

>>> import bench, mnistref
>>> model = bench.create_model("pan-ctx", variant="mref", pretrained=True)
>>> bench.evaluate(model, mnistref.load("mref", split="test")).measures["accuracy"]
"""

from typing import TYPE_CHECKING, Any

from mnistref.common.version import VERSION

if TYPE_CHECKING:
    from bench.api import Evaluation, MapScores, evaluate, list_models, score_maps
    from bench.attribution_api import Saliency, attack, saliency, swap
    from bench.model import AttributeCNN, create_model
    from bench.runs.loaded_run import LoadedRun, load_run

__version__ = VERSION
__all__ = [
    "AttributeCNN",
    "Evaluation",
    "LoadedRun",
    "MapScores",
    "Saliency",
    "__version__",
    "attack",
    "create_model",
    "evaluate",
    "list_models",
    "load_run",
    "saliency",
    "score_maps",
    "swap",
]

_MODULES = {
    **dict.fromkeys(("AttributeCNN", "create_model"), "bench.model"),
    **dict.fromkeys(("Evaluation", "MapScores", "evaluate", "list_models", "score_maps"), "bench.api"),
    **dict.fromkeys(("Saliency", "attack", "saliency", "swap"), "bench.attribution_api"),
    **dict.fromkeys(("LoadedRun", "load_run"), "bench.runs.loaded_run"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # imported lazily, because these modules import PyTorch
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
