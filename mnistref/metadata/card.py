"""The pages of a data set: `README.md` for people and `croissant.json` for programs. Pure."""

from collections.abc import Iterable

from mnistref.common.text_table import table
from mnistref.common.version import VERSION
from mnistref.metadata.credits import LICENCES, citation, licence
from mnistref.metadata.croissant import croissant
from mnistref.spec import COLORS, DISJOINT, GLYPH, PATCH, POOLED, VariantSpec
from mnistref.storage.manifest import PAGES, Manifest
from mnistref.storage.schema import FIELDS, FORMAT_VERSION
from mnistref.storage.source import Source
from mnistref.variants import find_changes, options_of_changes, range_text


def pages(manifest: Manifest) -> dict[str, str]:
    """Return file name → text. Equal manifests give equal text, without date or path."""
    return dict(zip(PAGES, (card(manifest), croissant(manifest)), strict=True))


def card(manifest: Manifest) -> str:
    """Return the text of `README.md`: description, fields, commands, sources and licences."""
    layout = f"""Each shard `<split>-NNNNN-of-NNNNN.h5` is an HDF5 file (format version {FORMAT_VERSION}).
Every array has one row per image.

```python
from mnistref import MnistRef

MnistRef("{manifest.folder_name}", split="{next(iter(manifest.splits))}")[0]  # or datasets.load_dataset("hdf5", …)
```

{fields_table(FIELDS)}"""
    checks = "`sha256sum -c SHA256SUMS` checks the files, `mnistref verify` everything. "
    return page(
        manifest,
        manifest.folder_name,
        splits=list(manifest.splits),
        layout=layout,
        commands=command(manifest),
        checks=checks,
    )


def page(manifest: Manifest, title: str, splits: list[str], layout: str, commands: str, checks: str = "") -> str:
    """Return a card in Markdown for some splits.

    Args:
        manifest: the data set.
        title: heading of the page.
        splits: the splits to describe.
        layout: description of the files and fields.
        commands: commands that generate the files again.
        checks: sentence about verification.
    """
    variant = manifest.variant
    note = f"\n**Note:** `{variant.name}` is {variant.note}.\n" if variant.note else ""
    values = variant.values_text.replace("; ", ";\n")
    return f"""# {title}

{variant.description}
A synthetic benchmark for spatial attention{_origin(variant)}, with the mask of every digit.
{note}
{_splits_table(manifest, splits)}

Images are {variant.canvas} × {variant.canvas} RGB. {values} (numbered from 0).

## Fields

{layout}

## How it was made

```sh
{commands}
```

{law_text(variant)}

Pool: {manifest.spec["pool"]}. {_pool_text(manifest)}

{checks}Content digest of the data set:
`{manifest.content_sha256}`. Made by mnistref {VERSION}.

## Sources and licences

{_sources(manifest)}

The images are made of these sources and carry their licences.

## Citation

```bibtex
{citation(variant)}
```
"""


def fields_table(names: Iterable[str]) -> str:
    """Return the named fields as a Markdown table."""
    rows = [["name", "dtype", "shape", "meaning"]]
    for name in names:
        field = FIELDS[name]
        rows.append([f"`{name}`", field.dtype, f"`{field.shape_text}`", field.meaning])
    return table(rows, markdown=True)


def _origin(variant: VariantSpec) -> str:
    return f" (after {variant.paper})" if variant.paper != "none" else ""


def _splits_table(manifest: Manifest, splits: list[str]) -> str:
    rows = [["split", "images", "shards"]]
    rows += [[split, f"{manifest.images(split):,}", str(len(manifest.splits[split]))] for split in splits]
    return table(rows, markdown=True)


def command(manifest: Manifest) -> str:
    """Return the command that generates this data set again."""
    spec = manifest.spec
    parts = [f"mnistref generate --variant {manifest.variant.name} --seed {spec['seed']}"]
    parts += [f"--{split} {size}" for split, size in spec["sizes"].items()]
    parts.append(f"--digits {_option(manifest.digits)}")
    if manifest.backgrounds:
        parts.append(f"--backgrounds {_option(manifest.backgrounds)}")
    if spec["pool"] != DISJOINT:
        parts.append(f"--pool {spec['pool']}")
    if spec.get("any_digits"):
        parts.append("--any-digits")
    parts += ["--skip-bad"] * manifest.choices.skip_bad + ["--keep-copies"] * manifest.choices.keep_copies
    return " ".join([*parts, *options_of_changes(find_changes(manifest.variant))])


def law_text(variant: VariantSpec) -> str:
    """Return the sampling law in words."""
    scales = "s ~ U({:g}, {:g})".format(*variant.scales)
    if variant.scales[0] == variant.scales[1]:
        scales = f"s = {range_text(variant.scales)}"
    different = "different classes" if variant.repeats[1] == 1 else "different classes, but for the queried class"
    classes = f"{range_text(variant.digits)} digits of {different}; colour of each i.i.d. uniform over "
    if variant.digits == (1, 1):
        classes = "1 digit, its class uniform; its colour uniform over "
    lines = [
        f"{classes}{', '.join(COLORS)}, plus one N(0, {variant.jitter}) value on all channels.",
        f"Scale {scales}, side ⌊{GLYPH}·s⌋, position uniform; both are drawn again while "
        "the box holds ink of an earlier digit.",
        "Bilinear resizing; with α = ink / 255 a pixel is colour · α² + background · (1 − α).",
        "A digit's mask is its ink, α > 0.",
        "Each image stores one query of its own, uniform over the digits that can be asked about."
        if variant.asks
        else "The label is the class of the digit. There is no question: the field `query` is 0.",
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


def _option(source: Source) -> str:
    return source.origin if source.origin in LICENCES else f"<{source.name}>"


def _pool_text(manifest: Manifest) -> str:
    if manifest.spec["pool"] == POOLED:
        return "Every split draws from all digits and photos."
    copies = "no photo file" if manifest.choices.keep_copies else "no photo"
    if not (shared := manifest.choices.shared_digits):
        text = f"No digit and {copies} occurs in two splits."
    else:
        text = f"{shared:,} digits are the same pictures as others of a later split; {copies} occurs in two splits."
    if manifest.choices.keep_copies:
        text += " Copies of a photo in another size or quality may be in two splits (`--keep-copies`)."
    return text


def _sources(manifest: Manifest) -> str:
    lines = []
    for what, source in (("digits", manifest.digits), ("backgrounds", manifest.backgrounds)):
        if source:
            lines.append(f"- {what}: {source.name}, {source.count:,}, SHA-256 `{source.sha256}`. {licence(source)}.")
    if manifest.spec.get("any_digits"):
        lines.append("\nThe digit check failed; the digits were accepted with `--any-digits`.")
    return "\n".join(lines)
