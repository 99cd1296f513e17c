"""Read a generated data set: `MnistRef`, a torch Dataset of questions, and whole splits as arrays."""

from mnistref.dataset.arrays import forget_checks, map_split, read_split, read_triples
from mnistref.dataset.torch_dataset import MnistRef
from mnistref.queries import Triples
from mnistref.storage.manifest import Manifest, read_manifest

__all__ = [
    "Manifest",
    "MnistRef",
    "Triples",
    "forget_checks",
    "map_split",
    "read_manifest",
    "read_split",
    "read_triples",
]
