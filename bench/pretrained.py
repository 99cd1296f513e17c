"""Weights of trained networks: an index in the package, and the files that it names by their SHA-256.

The files are in `results/` of a checkout. The wheel has only the index; `BENCH_WEIGHTS` names a folder with the files.
"""

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import TypedDict

from torch import nn

from bench.common.safetensors_io import decode
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.variants import get_variant

INDEX = Path(__file__).with_name("pretrained.json")
VARIABLE = "BENCH_WEIGHTS"
"""Environment variable with a folder of weights, such as `results` of a checkout."""
WEIGHTS = "weights.safetensors"
_CHECKOUT_FOLDER = Path(__file__).parent.parent / "results"


class IndexEntry(TypedDict):
    """An entry of the index.

    Attributes:
        attn: canonical name of the network.
        variant: the variant that it was trained on.
        width: channels of each convolution.
        run: folder of the run, relative to `results`.
        sha256: digest of the weights' file.
        accuracy: accuracy on the test split, 0 … 1.
        recipe: how it was trained, see `bench.config.RunConfig.training`.
    """

    attn: str
    variant: str
    width: int
    run: str
    sha256: str
    accuracy: float
    recipe: str


@cache
def read_index() -> tuple[IndexEntry, ...]:
    """Return the entries of the index."""
    return tuple(json.loads(INDEX.read_text(encoding="utf-8")))


def find_entry(attn: str, variant: str | None, width: int, network: str = "attribute") -> IndexEntry:
    """Return the entry of a network, the most accurate one if there are several.

    Args:
        attn: canonical name of the network.
        variant: name of the variant.
        width: channels of each convolution.
        network: name of the network around the mechanisms. Only the default one has trained weights.

    Raises:
        UsageProblemError: no trained weights exist. The message lists the available ones.
    """
    if variant is not None:
        get_variant(variant)  # raises if it does not exist, with the nearest name
    wanted = (attn, variant, width)
    entries = read_index() if network == "attribute" else ()
    found = [entry for entry in entries if (entry["attn"], entry["variant"], entry["width"]) == wanted]
    if not found:
        known = ", ".join(sorted({f"{entry['attn']!r} on {entry['variant']}" for entry in read_index()}))
        asked = f"{attn!r} on {variant}" if variant else f"{attn!r} without a variant"
        asked += f" in {network}" * (network != "attribute")
        raise UsageProblemError(f"no trained weights of {asked}, width {width}; available: {known}")
    return max(found, key=lambda entry: entry["accuracy"])


def load_pretrained(model: nn.Module, entry: IndexEntry) -> None:
    """Load the weights of an entry into a network.

    Raises:
        DataProblemError: the file is not found or differs from the index; or the weights do not fit the network.
    """
    path = _find_file(entry)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise DataProblemError(f"{path}: not the weights of the index (its SHA-256 differs); restore the file")
    try:
        model.load_state_dict(decode(data, str(path)))
    except RuntimeError as error:
        raise DataProblemError(
            f"{path}: the weights do not fit this network; use the version of bench that made them"
        ) from error


def _find_file(entry: IndexEntry) -> Path:
    """Return the path of the weights, in `BENCH_WEIGHTS` or in `results` of the checkout."""
    named = os.environ.get(VARIABLE)
    for folder in (*([Path(named)] if named else []), _CHECKOUT_FOLDER):
        for path in (folder / entry["run"] / WEIGHTS, folder / f"{entry['sha256']}.safetensors"):
            if path.is_file():
                return path
    place = Path(named) if named else Path(f"${VARIABLE}")
    raise DataProblemError(
        f"{place / entry['run'] / WEIGHTS}: the weights of {entry['attn']} on {entry['variant']} are not here; set "
        f"{VARIABLE} to the folder results of a checkout of the project, or copy the file there"
    )
