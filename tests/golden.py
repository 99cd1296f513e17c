"""One digest per variant of the integers of its scenes: the content of images before rendering.

`python -m tests.golden` rewrites `golden.json`. Run it after adding a variant or raising LAW_VERSION: existing data
sets keep their names only if their content does not change.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import write_whole
from mnistref.generation.shard_worker import ShardJob, draw
from mnistref.scales import SCALE_BITS
from mnistref.sources.digits import load_digits
from mnistref.spec import LAW_VERSION
from mnistref.variants import VARIANTS

GOLDEN = Path(__file__).with_name("golden.json")
IMAGES = 100
FIELDS = (
    "count",
    "digit_class",
    "digit_color",
    "digit_rgb",
    "digit_box",
    "digit_source",
    "query_slot",
    "query",
    "label",
)


def scene_digest(variant: str, raw: Path) -> str:
    """Return the SHA-256 of the scene integers of the first test images of seed 0, with mnist5k and without photos."""
    digits, nothing, spec = load_digits("mnist5k", raw), np.zeros(0, np.int64), VARIANTS[variant]
    if spec.background == "photo":  # scenes do not depend on photos
        spec = replace(spec, background="black")
    members = digits.splits["test"]
    job = ShardJob(
        Path("none"), "none", spec, 0, "test", 0, IMAGES, "mnist5k", digits.sha256, members, None, nothing, raw
    )
    arrays, digest = draw(job), hashlib.sha256()
    for name in FIELDS:
        digest.update(f"{name}\n".encode() + getattr(arrays, name).astype("<i4").tobytes())
    units = arrays.digit_scale.astype(np.float64) * (1 << SCALE_BITS)
    digest.update(b"digit_scale\n" + units.astype("<i4").tobytes())
    return digest.hexdigest()


def golden(raw: Path) -> dict:
    return {"law_version": LAW_VERSION, "scenes": {name: scene_digest(name, raw) for name in VARIANTS}}


def main() -> int:
    with tempfile.TemporaryDirectory() as raw:
        now = golden(Path(raw))
    before = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else now
    changed = [n for n, digest in before["scenes"].items() if now["scenes"].get(n, digest) != digest]
    if changed and before["law_version"] == LAW_VERSION:
        print(f"the scenes of {', '.join(changed)} changed: raise LAW_VERSION first", file=sys.stderr)
        return 1
    write_whole(GOLDEN, (json.dumps(now, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
