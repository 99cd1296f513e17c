"""The check that a module returns the shapes and types of a slot."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from bench.attention.base import Changed, Readout, Scored
from bench.attention.mechanism import Mechanism
from bench.attention.user_code import locate_function
from bench.config import DEFAULT_WIDTH
from bench.conformance.probe import (
    UnfitError,
    UntestedError,
    adapt_features,
    build_module,
    make_inputs,
    slot_sizes,
)

SIZES = ((25, 25), (7, 13), (1, 9), (1, 1))
"""Heights and widths of features, including odd ones."""


def require_shapes(mechanism: Mechanism, canvas: int | None = None) -> None:
    """Raise UnfitError unless all outputs have the shapes and types of a slot, in evaluation and in training.

    Args:
        mechanism: the mechanism.
        canvas: side of the images, which determines the sizes of maps; None for those of all variants.
    """
    try:
        _require_all_shapes(mechanism, canvas)
    except UnfitError as error:
        where = locate_function(mechanism.cls.forward)
        raise UnfitError(f"{error}{f'; forward is in {where}' * bool(where)}") from None


def _require_all_shapes(mechanism: Mechanism, canvas: int | None) -> None:
    sizes = (*SIZES, *slot_sizes(last=isinstance(build_module(mechanism), Readout), canvas=canvas))
    cases = [(False, batch, size) for size in sizes for batch in (1, 2)]
    cases += [(True, 2, size) for size in sizes]
    for training, batch, (height, width) in cases:
        module = build_module(mechanism).train(training)
        x, query = make_inputs(height, width, batch)
        out = _call_with_memory(module, x, query)
        case = f"for features {tuple(x.shape)}{' in training' * training}"
        if isinstance(module, Readout):
            _require_shape(
                out.vectors.shape[::2], (batch, DEFAULT_WIDTH * module.levels), f"vectors {case} (first and last size)"
            )
            _require_type(out.vectors, x, f"vectors {case}")
            continue
        features, score = (out.features, out[1]) if isinstance(out, Scored | Changed) else (x, out)
        if not isinstance(features, Tensor) or not isinstance(score, Tensor | None):
            raise UnfitError(f"returns {type(out).__name__} {case}; expected a score map, Scored or Changed")
        _require_shape(features.shape, x.shape, f"features {case}")
        _require_type(features, x, f"features {case}")
        if score is not None:
            _require_shape(score.shape, (batch, 1, height, width), f"a map {case}, one number per position")
        if score is not None and not isinstance(out, Changed):
            _require_type(score, x, f"a score {case}")


def _call_with_memory(module: nn.Module, x: Tensor, query: Tensor) -> Any:
    """Return the output of a module; raise UntestedError if there is not enough memory for it."""
    try:
        return module(adapt_features(module, x), query)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise UntestedError(f"there is too little memory for features {tuple(x.shape)}") from error
        raise


def _require_shape(shape: Sequence[int], expected: Sequence[int], label: str) -> None:
    if tuple(shape) != tuple(expected):
        raise UnfitError(f"returns shape {tuple(shape)}, expected {tuple(expected)}: {label}")


def _require_type(value: Tensor, x: Tensor, label: str) -> None:
    if value.dtype != x.dtype:
        raise UnfitError(f"returns {value.dtype}, expected {x.dtype}, the type of the features: {label}")
