"""Parquet: a file for each shard and a row for each image, with pictures as PNG that `datasets` decodes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mnistref.common.errors import UsageProblemError
from mnistref.export.rows import BLOCK, PICTURES, VALUES, Part, Row, blocks
from mnistref.spec import VariantSpec
from mnistref.storage.schema import FIELDS

LAYOUT = """Parquet files with one row per image. `datasets` decodes the pictures, which are PNG, and names the classes.

```python
import datasets

datasets.load_dataset("parquet", data_files={{"{split}": "{split}-*.parquet"}})["{split}"][0]
```"""


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageProblemError("--to parquet needs pyarrow: pip install pyarrow") from error
    return pyarrow


def require_pyarrow() -> None:
    """Raise UsageProblemError if pyarrow is missing."""
    _pyarrow()


def write(part: Part, folder: Path) -> None:
    """Write one shard as a Parquet file, with a row group for each block."""
    pa = _pyarrow()
    schema = _schema(part.variant)
    # opened here, since Arrow takes no path that is not UTF-8
    with open(folder / f"{part.stem}.parquet", "wb") as file, pa.parquet.ParquetWriter(file, schema) as writer:
        for block in blocks(part):
            table = pa.Table.from_pylist([_with_pictures(row) for row in block], schema=schema)
            writer.write_table(table, row_group_size=BLOCK)


def _with_pictures(row: Row) -> Row:
    return {**row, **{name: {"bytes": row[name], "path": None} for name in PICTURES}}


def _schema(variant: VariantSpec) -> Any:
    """Return the Arrow types, with the features of `datasets` in the metadata."""
    pa = _pyarrow()
    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    classes = {"label": variant.label_names}
    if variant.asks:
        classes["query"] = variant.query_names
    types: dict[str, Any] = dict.fromkeys(PICTURES, picture)
    features: dict[str, Any] = {name: {"_type": "Image"} for name in PICTURES}
    for name in VALUES:
        if name in classes:
            types[name], features[name] = pa.int64(), {"names": list(classes[name]), "_type": "ClassLabel"}
            continue
        dtype = np.dtype(FIELDS[name].dtype)
        types[name], features[name] = pa.from_numpy_dtype(dtype), {"dtype": dtype.name, "_type": "Value"}
        for length in reversed(FIELDS[name].shape):
            types[name] = pa.list_(types[name], length)
            features[name] = {"feature": features[name], "length": length, "_type": "Sequence"}
    return pa.schema(types, metadata={"huggingface": json.dumps({"info": {"features": features}})})
