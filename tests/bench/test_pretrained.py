"""Trained weights by digest. `python -m tests.bench.test_pretrained` writes the index again, from `results/`."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

import bench
from bench import pretrained
from bench.config import DEFAULT_WIDTH
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.variants import get_variant
from tests.helpers import TOP

RESULTS = TOP / "results"


def index() -> list[pretrained.IndexEntry]:
    """Return the entries of all weights that are stored in `results/`."""
    entries = []
    for file in sorted(RESULTS.rglob(pretrained.WEIGHTS)):
        config, result = (json.loads((file.parent / name).read_text()) for name in ("config.json", "result.json"))
        entries.append(
            pretrained.IndexEntry(
                attn=result["attn"],
                variant=result["variant"],
                width=config.get("width", DEFAULT_WIDTH),
                run=file.parent.relative_to(RESULTS).as_posix(),
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
                accuracy=result["accuracy"],
                recipe=result["recipe"],
            )
        )
    return entries


def test_the_index_has_all_weights_of_the_results():
    assert list(pretrained.read_index()) == index()
    assert len(index()) >= 5


@pytest.mark.parametrize("entry", pretrained.read_index(), ids=lambda entry: entry["run"])
def test_every_pretrained_network_loads(entry):
    variant = get_variant(entry["variant"])
    model = bench.create_model(entry["attn"], variant.name, width=entry["width"])
    before = [parameter.clone() for parameter in model.parameters()]
    pretrained.load_pretrained(model, entry)
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    out = model.eval()(torch.rand(2, 3, variant.canvas, variant.canvas), torch.tensor([0, 1]))
    assert out.logits.isfinite().all()


def test_a_pretrained_network_is_that_of_the_run():
    entry = pretrained.find_entry("pan-ctx", "mref", DEFAULT_WIDTH)
    model = bench.create_model("ctx", variant="mref", pretrained=True).eval()
    wanted = bench.load_run(RESULTS / entry["run"]).model
    images, query = torch.rand(5, 3, 100, 100), torch.arange(5)
    with torch.inference_mode():
        assert torch.equal(model(images, query).logits, wanted(images, query).logits)


def test_the_most_accurate_weights_are_chosen(monkeypatch):
    (best,) = [entry for entry in index() if entry["run"].endswith("cd6bfe6b3157")]
    worse = {**best, "run": "no/such/run", "accuracy": best["accuracy"] - 0.1}
    monkeypatch.setattr(pretrained, "read_index", lambda: (worse, best, worse))
    assert pretrained.find_entry(best["attn"], best["variant"], DEFAULT_WIDTH) == best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attn": "unet3", "variant": "mref"}, "'unet3' on mref, width 32; .*'pan-ctx' on mref"),
        ({"attn": "pan", "variant": "mdist"}, "'pan' on mdist"),
        ({"attn": "pan-ctx"}, "'pan-ctx' without a variant"),
        ({"attn": "pan-ctx", "variant": "mref", "width": 8}, "width 8"),
        ({"attn": "pan-ctx", "variant": "mrf"}, "unknown variant 'mrf': did you mean 'mref'"),
        ({"attn": "nosuch", "variant": "mref"}, "unknown mechanism"),
    ],
)
def test_loading_a_network_without_weights_is_an_error(arguments, message):
    with pytest.raises(UsageProblemError, match=message) as error:
        bench.create_model(**arguments, pretrained=True)
    assert "\n" not in str(error.value)


def test_list_of_pretrained_networks():
    entries = index()
    assert bench.list_models(pretrained=True) == sorted({entry["attn"] for entry in entries})
    assert bench.list_models("p*", variant="mref") == ["pan-ctx"]
    assert bench.list_models("ctx", pretrained=True) == ["pan-ctx"]
    assert bench.list_models("*", pretrained=True, variant="mgb") == []
    for variant in {entry["variant"] for entry in entries}:
        for name in bench.list_models(variant=variant):
            assert bench.create_model(name, variant, pretrained=True).training


@pytest.mark.parametrize("by_digest", [False, True])
def test_weights_are_found_in_the_named_folder(by_digest, tmp_path, monkeypatch):
    """An installed wheel has no folder `results`."""
    entry = pretrained.find_entry("pan-ctx", "mref", DEFAULT_WIDTH)
    monkeypatch.setattr(pretrained, "_CHECKOUT_FOLDER", tmp_path / "none")
    monkeypatch.delenv(pretrained.VARIABLE, raising=False)
    with pytest.raises(DataProblemError, match=r"\$BENCH_WEIGHTS/fast/runs/mref-pan-ctx.*set BENCH_WEIGHTS"):
        bench.create_model("pan-ctx", "mref", pretrained=True)
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    with pytest.raises(DataProblemError, match=rf"{tmp_path}/fast/runs/mref-pan-ctx.*not here"):
        bench.create_model("pan-ctx", "mref", pretrained=True)
    place = tmp_path / (f"{entry['sha256']}.safetensors" if by_digest else f"{entry['run']}/{pretrained.WEIGHTS}")
    place.parent.mkdir(parents=True, exist_ok=True)
    data = (RESULTS / entry["run"] / pretrained.WEIGHTS).read_bytes()
    place.write_bytes(data)
    bench.create_model("pan-ctx", "mref", pretrained=True)
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataProblemError, match="its SHA-256 differs"):
        bench.create_model("pan-ctx", "mref", pretrained=True)


def test_weights_of_another_network_are_a_data_error():
    entry = pretrained.find_entry("pan-ctx", "mref", DEFAULT_WIDTH)
    with pytest.raises(DataProblemError, match="do not fit"):
        pretrained.load_pretrained(bench.create_model("san", "mref"), entry)


if __name__ == "__main__":
    text = json.dumps(index(), indent=1, ensure_ascii=False) + "\n"
    Path(pretrained.INDEX).write_text(text, encoding="utf-8")
