"""`croissant.json`: a machine-readable description of a data set (Croissant 1.0, JSON-LD). Pure."""

import json
from typing import TypeAlias

import numpy as np

from mnistref.metadata.credits import citation, licences
from mnistref.storage.manifest import Manifest
from mnistref.storage.schema import FIELDS, FORMAT_VERSION

PUBLISHED = "2026-11-21"
"""Publication date of format version 1, which Croissant requires. A constant keeps the bytes reproducible."""

_Node: TypeAlias = dict[str, object]
"""A node of JSON-LD."""

_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)

CONTEXT: _Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
"""The complete context of Croissant 1.0. The validator warns about anything less."""

_RECORD = "One image a record. mlcroissant, which reads no HDF5, checks this file and gives no records of it."
_HDF5 = "application/x-hdf5"


def croissant(manifest: Manifest) -> str:
    """Return the text of croissant.json: shards with checksums, fields with types, licences."""
    variant = manifest.variant
    note = f"{variant.name} is {variant.note}. " if variant.note else ""
    content: _Node = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.folder_name,
        "description": f"{variant.description} {note}{variant.values_text}.",
        "version": f"{FORMAT_VERSION}.0.0",
        "datePublished": PUBLISHED,
        "creator": {"@type": "sc:Organization", "name": "the mnistref authors"},
        "citeAs": citation(variant),
        "license": licences(manifest),
        "distribution": [*_shards(manifest), *_splits(manifest)],
        "recordSet": [_records(split) for split in manifest.splits],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _shards(manifest: Manifest) -> list[_Node]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": shard.file,
            "name": shard.file,
            "contentUrl": shard.file,
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": _HDF5,
            "sha256": shard.sha256,
        }
        for shard in manifest.shards
    ]


def _splits(manifest: Manifest) -> list[_Node]:
    """Return each split as a file set."""
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}-shards",
            "name": f"{split}-shards",
            "encodingFormat": _HDF5,
            "includes": f"{split}-*.h5",
        }
        for split in manifest.splits
    ]


def _records(split: str) -> _Node:
    """Return the fields of a split. A column is an HDF5 data set whose first axis is the image."""
    fields = []
    for name, field in FIELDS.items():
        fields.append(
            {
                "@type": "cr:Field",
                "@id": f"{split}/{name}",
                "name": name,
                "description": f"{field.dtype} {field.shape_text}: {field.meaning}",
                "dataType": "sc:Float" if np.dtype(field.dtype).kind == "f" else "sc:Integer",
                **({"repeated": True} if field.shape else {}),
                "source": {"fileSet": {"@id": f"{split}-shards"}, "extract": {"column": name}},
            }
        )
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "description": _RECORD, "field": fields}
