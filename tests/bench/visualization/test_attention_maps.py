"""Pictures of attention: they show answers and maps of the network, for every mechanism; and usage errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench import networks
from bench.attention import MECHANISMS, plugins, resolve_network
from bench.attention.arnn import AttentionRNN
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.evaluation.panels import Panels
from bench.metrics import mask_correctness
from bench.model import create_model
from bench.runs import experiment, network_loading, records
from bench.visualization import attention_maps
from bench.visualization.attention_maps import MapOptions, save_picture
from bench.visualization.drawing import answer_lines, figure
from bench.visualization.examples import ImageChoice
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import MnistRef, read_manifest
from mnistref.variants import get_variant
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.bench_command import bench
from tests.helpers import FAMILIES, long_form

pytest.importorskip("matplotlib")
CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


@pytest.fixture(scope="module")
def finished(mini, tmp_path_factory) -> Path:
    """Return a run of pan, trained for one epoch."""
    config = experiment.configure(mini, "pan", 0, experiment.RunSettings(SHORT, "one", ComputeConfig(CPU)))
    return experiment.run(config, mini, tmp_path_factory.mktemp("runs"))


def picture_of(
    run, output, root, data=None, images=None, seed=0, indices=None, samples=1, sigma_scale=None
) -> list[Panels]:
    """Draw a picture; the options of images and samples are arguments."""
    choice, sampling = ImageChoice(images, seed, indices), MapOptions(samples, sigma_scale)
    return save_picture(run, output, root, data, choice, maps=sampling)


def evaluate_image(run: Path, mini: Path, index: int):
    """Return the answer of a run to a test image, without the code of pictures."""
    _, model = network_loading.load_model(run)
    sample = MnistRef(mini, "test")[index]
    with torch.inference_mode():
        out = model(sample["image"].as_subclass(torch.Tensor)[None].float() / 255, torch.tensor([sample["query"]]))
    return sample, out


def texts_of(page) -> list[str]:
    return [text.get_text() for text in all_texts(page)]


def all_texts(page) -> list:
    """Return all texts of a page and of its axes."""
    axes = [*page.axes, *(child for axes in page.axes for child in axes.child_axes)]
    return [*page.texts, *(text for each in axes for text in (*each.texts, each.title))]


def test_panels_show_answers_and_maps_of_the_network(finished, mini, root, tmp_path):
    variant = get_variant("mini")
    for row in save_picture(finished, tmp_path / "a.png", root, choice=ImageChoice(indices=[3, 0, 17])):
        sample, out = evaluate_image(finished, mini, row.index)
        assert row.question == f"what colour is the {sample['query']}?"
        assert row.prediction == variant.label_names[int(out.logits.argmax())]
        assert row.probability == pytest.approx(float(out.logits.softmax(1).max()), abs=1e-5)
        assert row.truth == (variant.label_names[sample["label"]],)
        assert row.right == (int(out.logits.argmax()) == sample["label"])
        assert torch.equal(row.target, sample["mask"].as_subclass(torch.Tensor))
        torch.testing.assert_close(row.image * 255, sample["image"].as_subclass(torch.Tensor).permute(1, 2, 0).float())
        assert [s.slot for s in row.slots] == [1, 2, 3, 4]
        assert [s.size for s in row.slots] == [(24, 24), (12, 12), (6, 6), (3, 3)]
        product = torch.ones(48, 48)
        for slot, mask in zip(row.slots, out.masks, strict=True):
            full = F.interpolate(mask, (48, 48), mode="bilinear", align_corners=False)[0, 0]
            torch.testing.assert_close(slot.map, full / full.max(), rtol=1e-3, atol=1e-5)
            assert (slot.low, slot.high) == pytest.approx((float(mask.min()), float(mask.max())), rel=1e-4)
            product = product * full
        torch.testing.assert_close(row.product, product / product.max(), rtol=1e-3, atol=1e-5)
        expected = float(mask_correctness(out.masks, row.target[None]))
        assert row.correctness == pytest.approx(expected, rel=1e-3)
        assert row.shares == {row.truth[0]: pytest.approx(expected, rel=1e-3)}
        assert row.area == pytest.approx(float(row.target.float().mean()))


def test_the_picture_shows_the_panels(finished, root, tmp_path):
    """The picture has the pixels of every panel, the outline, and the texts."""
    rows = save_picture(finished, tmp_path / "a.png", root, choice=ImageChoice(2))
    page = figure(rows, ["title"], ["note"])
    assert len(page.axes) == 2 * 7
    for k, row in enumerate(rows):
        images = [axes.images for axes in page.axes[7 * k : 7 * k + 7]]
        np.testing.assert_array_equal(images[0][0].get_array(), row.image)
        for slot, drawn in zip(row.slots, images[1:5], strict=True):
            np.testing.assert_array_equal(drawn[0].get_array(), slot.map)
        np.testing.assert_array_equal(images[5][0].get_array(), row.product)
        assert all(axes.collections for axes in page.axes[7 * k + 1 : 7 * k + 5])
        within = page.axes[7 * k + 1].texts[0].get_text()
        assert within == f"{row.slots[0].low:.2g} … {row.slots[0].high:.2g}"
        assert page.axes[7 * k + 5].collections
        words = [text.get_text() for text in page.axes[7 * k + 6].texts]
        assert words == answer_lines(row)
        assert words[0] == ("✓ right" if row.right else "✗ wrong")
        assert words[1].startswith(f"says {row.prediction} (")
        assert words[2] == f"truth: {row.truth[0]}"
    assert {"slot 2, 12×12", "0", "max."} <= set(texts_of(page))


def test_texts_do_not_overlap_or_leave_the_page(finished, root, tmp_path):
    rows = save_picture(finished, tmp_path / "a.png", root, choice=ImageChoice(3))
    page = figure(
        rows, ["arnn" * 60, "a title of more than a line " * 8], ["a note of more than a line " * 12, "short"]
    )
    page.draw_without_rendering()
    renderer = page._get_renderer()
    found = [*page.legends, *all_texts(page)]
    boxes = [t.get_window_extent(renderer) for t in found if getattr(t, "get_text", lambda: "x")()]
    assert len(boxes) > 20
    for k, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.bbox.x1
        assert box.y1 <= page.bbox.y1
        assert not [other for other in boxes[:k] if _overlap(box, other)]


def _overlap(a, b, slack: float = 2.0) -> bool:
    """Return whether two boxes overlap by more than the empty margin of their letters."""
    return min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_show_is_deterministic_to_the_byte(suffix, finished, root, tmp_path):
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    before = torch.get_rng_state()
    for path in (first, second):
        save_picture(finished, path, root, choice=ImageChoice(1))
    assert first.read_bytes() == second.read_bytes()
    assert torch.equal(before, torch.get_rng_state())
    assert not list(tmp_path.glob(".partial*"))


@pytest.mark.parametrize("name", long_form(MECHANISMS, FAMILIES[::2]))
def test_every_mechanism_can_be_drawn(name, untrained_run, root, tmp_path):
    run = untrained_run(name)
    (row,) = save_picture(run, tmp_path / "a.png", root, choice=ImageChoice(1))
    with torch.inference_mode():
        out = network_loading.load_model(run)[1](row.image.permute(2, 0, 1)[None], torch.tensor([0]))
    assert [s.size for s in row.slots] == [tuple(mask.shape[2:]) for mask in out.masks]
    assert [s.slot for s in row.slots] == [{24: 1, 12: 2, 6: 3, 3: 4}[s.size[0]] for s in row.slots]
    assert (row.product is None) == (row.correctness is None) == (not out.masks)
    if out.masks:
        assert float(row.product.max()) == 1.0
        assert 0 <= row.correctness <= 1
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("attn", "slots"), [("none,pan", [2, 3, 4]), ("ltpa-dp", [2, 3, 4]), ("san", [4]), ("pan,none", [1])]
)
def test_slots_without_a_map_are_not_drawn(attn, slots, untrained_run, root, tmp_path):
    (row,) = save_picture(untrained_run(attn), tmp_path / "a.png", root, choice=ImageChoice(1))
    assert [s.slot for s in row.slots] == slots


def test_network_without_maps_is_drawn_with_answers(untrained_run, root, tmp_path):
    save_picture(untrained_run("se"), tmp_path / "a.svg", root, choice=ImageChoice(2))
    (row, _) = rows = save_picture(untrained_run("none"), tmp_path / "b.png", root, choice=ImageChoice(2))
    assert (row.slots, row.product, row.shares) == ((), None, {})
    assert not any("attention" in line for line in answer_lines(row))
    assert "product" not in texts_of(figure(rows, ["title"], []))


@pytest.mark.long_form
def test_samples_differ_can_be_widened_and_are_reproducible(untrained_run, root, tmp_path):
    run = untrained_run("arnn-sampled")

    def drawn(name="a.png", **how):
        return picture_of(run, tmp_path / name, root, **{"indices": [2, 5], "samples": 3, **how})

    rows, again = drawn(), drawn("b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert [(r.index, r.sample, r.samples) for r in rows] == [(i, s, 3) for i in (2, 5) for s in (1, 2, 3)]
    assert not torch.equal(rows[0].product, rows[1].product)
    assert torch.equal(rows[4].product, again[4].product)
    alone = drawn(indices=[5])
    assert torch.equal(rows[4].product, alone[1].product), "another image changed this one's samples"
    assert not torch.equal(drawn(seed=1)[0].product, rows[0].product)
    still = drawn(sigma_scale=0)
    assert torch.equal(still[0].product, still[2].product)

    def spread_of(rows):
        return float(torch.stack([r.slots[0].map for r in rows[:3]]).std(dim=0).mean())

    assert 0 == spread_of(still) < spread_of(drawn(sigma_scale=0.5)) < spread_of(rows)


def test_the_name_of_the_network_is_resolved_once(untrained_run, root, tmp_path, monkeypatch):
    run, resolved = untrained_run("arnn-sampled"), []
    monkeypatch.setattr(networks, "resolve_network", lambda *args: resolved.append(args[0]) or resolve_network(*args))
    save_picture(run, tmp_path / "a.png", root, choice=ImageChoice(1))
    assert resolved == ["arnn-sampled"]


def test_widened_sigma_is_three_times_the_trained_sigma(untrained_run, root, tmp_path, monkeypatch):
    run, seen = untrained_run("none,arnn-sampled:sigma_scale=0.5"), []
    forward = AttentionRNN.forward
    monkeypatch.setattr(AttentionRNN, "forward", lambda self, *x: seen.append(self.sigma_scale) or forward(self, *x))
    for how, scale in (({}, 0.5), ({"samples": 2}, 1.5), ({"sigma_scale": 2}, 1.0)):
        seen.clear()
        picture_of(run, tmp_path / "a.png", root, images=1, **how)
        assert set(seen) == {scale}


def test_all_right_answers_and_their_ink_are_shown(untrained_run, make, root, tmp_path):
    """On mbgmulti, every colour of the queried digit is right, and the ink of all of them is the target."""
    data = make("mbgmulti")
    run, items = untrained_run("arnn-sampled", make("mref")), MnistRef(data, "test")
    rows = save_picture(run, tmp_path / "a.png", root, data, ImageChoice(3), maps=MapOptions(2))
    names = get_variant("mbgmulti").label_names
    for row in rows:
        item = items[row.index]
        assert row.truth == tuple(names[k] for k in item["labels"].nonzero().flatten())
        assert 2 <= len(row.truth) <= 3
        assert row.right == bool(item["labels"][names.index(row.prediction)])
        ink = item["mask"].as_subclass(torch.Tensor)
        assert row.target[ink].all()
        assert row.target.sum() > ink.sum()
        assert sum(row.shares.values()) == pytest.approx(row.correctness, rel=1e-4)
        assert row.question == f"what colour is a {item['query']}?"
        assert " or ".join(row.truth) in answer_lines(row)[2]
        assert answer_lines(row)[0].split(" ", 1)[1].startswith(f"sample {row.sample}: ")


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (None, ""),
        ("mini-aa,fast,epochs=3", ", after mini"),
        ("mref-a,fast,init=(mini-b,pan)", ", after mref, after mini"),
    ],
)
def test_picture_names_the_previous_training_of_a_run(init, words, untrained_run, mini):
    config = replace(network_loading.load_config(untrained_run("pan")), init=init)
    line = attention_maps._title(config, Path("run"), 0.5, read_manifest(mini), None, 0)[1]
    assert line == f"run run, recipe {config.recipe.label}{words}"


def test_slots_are_named_by_the_network():
    model = create_model("none,pan,none,san", "mini").eval()
    assert model(torch.rand(1, 3, 48, 48), torch.tensor([1])).slots == (2, 4)


def test_user_file_of_a_run_is_loaded_again(untrained_run, root, tmp_path, monkeypatch):
    file = write_module(tmp_path, scorer("Mine"))
    run = untrained_run(f"{file}:Mine")
    monkeypatch.setattr(plugins, "_loaded", {})  # as in a new process
    (row,) = save_picture(run, tmp_path / "a.png", root, choice=ImageChoice(1))
    assert [s.slot for s in row.slots] == [1, 2, 3, 4]
    monkeypatch.setattr(plugins, "_loaded", {})
    write_module(tmp_path, scorer("Mine") + "# changed")
    with pytest.raises(UsageProblemError, match="has changed since the run"):
        save_picture(run, tmp_path / "a.png", root)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"samples": 2}, "draws no samples.*arnn-sampled, arnn-ind-sampled"),
        ({"samples": 0}, "draws no samples"),
        ({"sigma_scale": 2.0}, "draws no samples"),
        ({"images": 0}, "give 1 or more"),
        ({"images": 101}, "100 rows"),
        ({"indices": [120]}, "no test image 120: give 0 … 119"),
        ({"indices": [-1]}, "no test image -1"),
        ({"indices": []}, "no image given"),
        ({"data": Path("nowhere")}, "no data set here"),
        ({"output": Path("a.gif")}, "ends in .png"),
        ({"run": Path("nowhere")}, "nowhere: there is no such folder"),
    ],
)
def test_wrong_arguments_of_show_are_errors_of_one_line(how, message, finished, root, tmp_path):
    arguments = {"run": finished, "output": tmp_path / "a.png", "root": root, **how}
    with pytest.raises(UsageProblemError, match=message) as caught:
        picture_of(**arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("how", [{"samples": 0}, {"sigma_scale": -1.0}, {"sigma_scale": float("nan")}])
def test_invalid_numbers_of_samples_are_refused(how, untrained_run, root, tmp_path):
    with pytest.raises(UsageProblemError, match="give 1 sample or more"):
        picture_of(untrained_run("arnn-sampled"), tmp_path / "a.png", root, **how)


def test_a_data_set_of_another_kind_is_an_error(finished, make, root, tmp_path):
    with pytest.raises(UsageProblemError, match="5 queries and 10 classes, but this network, trained on mini, has 10"):
        save_picture(finished, tmp_path / "a.png", root, make("mbginv"))


def _drop(part: str):
    return lambda run: (run / part).unlink()


def _write(part: str, text: str):
    return lambda run: (run / part).write_text(text)


def _change(*parts: str, **entries):
    def change(run: Path) -> None:
        for path in (run / part for part in parts):
            path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return change


def _rename_variant(run: Path) -> None:
    """Let a record name a variant that does not exist, and a data set of it."""
    _change(records.CONFIG, records.RESULT, variant="nano")(run)
    _change(records.CONFIG, dataset="nano-0123456789ab")(run)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_drop(records.RESULT), "not finished; repeat its `bench run` command"),
        (_change(records.RESULT, status="diverged"), "no network, because its status is diverged"),
        (_write(records.RESULT, "{}"), "damaged"),
        (_drop(records.WEIGHTS), "no weights here"),
        (_write(records.WEIGHTS, "nothing"), "not a safetensors file"),
        (_write(records.CONFIG, "{"), "not JSON"),
        (_write(records.CONFIG, "[]"), "config.json: damaged .unexpected structure"),
        (_write(records.CONFIG, "{}"), "config.json: damaged .recipe is missing"),
        (_change(records.CONFIG, recipe={"name": "fast"}), "config.json: damaged .unexpected structure"),
        (_change(records.CONFIG, attn=3), "attn is not text"),
        (_change(records.CONFIG, attn_files={"a": 1}), "not text"),
        (_change(records.CONFIG, attn="san"), "config.json: damaged .its attn is not that of result.json"),
        (_change(records.CONFIG, records.RESULT, attn="arnnn"), "cannot build the network.*did you mean"),
        (_change(records.CONFIG, records.RESULT, variant="nano"), "config.json: damaged .dataset: 'mini-"),
        (_rename_variant, "cannot build the network.*unknown variant"),
        (_change(records.CONFIG, records.RESULT, attn="san"), "do not fit this network"),
    ],
)
def test_a_damaged_or_unfinished_run_is_a_data_error(harm, message, untrained_run, root, tmp_path):
    run = untrained_run("pan")
    harm(run)
    with pytest.raises(DataProblemError, match=message) as caught:
        save_picture(run, tmp_path / "a.png", root)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.png").exists()


def test_code_in_a_weights_file_is_not_executed(untrained_run, root, tmp_path):
    """A pickle under the name of the weights is refused, not loaded."""
    run = untrained_run("pan")
    torch.save({"x": torch.zeros(1)}, run / records.WEIGHTS)
    with pytest.raises(DataProblemError, match="not a safetensors file"):
        save_picture(run, tmp_path / "a.png", root)


def test_an_implementation_that_is_not_for_a_cpu_is_a_usage_error(finished, root, monkeypatch):
    monkeypatch.setenv("BENCH_DIAGONAL_LSTM", "triton")
    code, out, said = bench("show", finished, "--root", root)
    assert (code, out) == (2, "")
    assert said.startswith("error: BENCH_DIAGONAL_LSTM: the implementation 'triton' takes fp32 and bf16 on CUDA")
