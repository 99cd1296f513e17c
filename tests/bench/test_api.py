"""The functions of the package: lists of mechanisms, evaluation of modules and functions, and measures of maps."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

import bench
import mnistref
from bench import metrics
from bench.attention import MECHANISMS
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.evaluation.columns import MAP_SCORES, SCALES
from bench.runs import experiment
from mnistref import MnistRef
from mnistref.common.errors import UsageProblemError

SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


@pytest.fixture(scope="module", params=["pan-ctx", "none", "san"])
def run(request, mini, tmp_path_factory):
    """A finished run of one epoch."""
    settings = experiment.RunSettings(SHORT, "one", ComputeConfig(torch.device("cpu")))
    config = experiment.configure(mini, request.param, 0, settings)
    return experiment.run(config, mini, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def data(mini) -> MnistRef:
    return MnistRef(mini, split="test")


def targets_of(data: MnistRef) -> torch.Tensor:
    return torch.stack([torch.as_tensor(data[k]["mask"]) for k in range(len(data))])


class Foreign(nn.Module):
    """A module from another package: its logits depend on the images, and it may return maps."""

    def __init__(self, classes: int = 5, maps: str = "none") -> None:
        super().__init__()
        self.linear, self.dropout, self.maps = nn.Linear(3, classes), nn.Dropout(0.5), maps

    def forward(self, images, query):
        logits = self.dropout(self.linear(images.view(*images.shape[:2], -1).mean(-1))) + query[:, None] * 0.01
        brightness = images.mean(1)
        small = nn.functional.avg_pool2d(brightness[:, None], 4)
        return {
            "none": logits,
            "one": (logits, brightness),
            "list": [logits, [small, brightness]],
            "no map": (logits, None),
            "alone": brightness,
            "several alone": (small, brightness[:, None]),
        }[self.maps]


def test_evaluate_reproduces_the_numbers_of_a_record(run, data):
    """The numbers are equal to the bit, with the batch size of the run, for a data set and for its folder."""
    loaded = bench.load_run(run)
    recorded = json.loads((run / "result.json").read_text())
    for given in (data, data.folder):
        found = bench.evaluate(loaded.model, given, batch=SHORT.batch)
        for name, value in found.measures.items():
            assert recorded[name] == value, name
        assert found.measures.keys() >= {
            name for name in recorded if name.startswith(("accuracy", "n_", "mask", "pr_"))
        }
    np.testing.assert_array_equal(found.answers["prediction"], loaded.answers["prediction"])
    np.testing.assert_array_equal(found.answers["correct"], loaded.answers["correct"])
    for name in set(MAP_SCORES) & set(loaded.answers):
        np.testing.assert_array_equal(found.answers[name].astype("float16").astype("float32"), loaded.answers[name])


def test_network_and_function_answer_all_questions_of_an_image_alike(mini):
    model = bench.create_model("pan-ctx", variant="mini").eval()
    every = MnistRef(mini, split="test", queries="all")
    own = bench.evaluate(model, every)
    other = bench.evaluate(lambda images, query: model(images, query)[:2], every)
    assert len(own.answers) == len(every) > 120
    assert own.measures["accuracy"] == pytest.approx(other.measures["accuracy"], abs=0.02)
    np.testing.assert_allclose(own.answers["mask_correctness"], other.answers["mask_correctness"], atol=1e-5)


@pytest.mark.parametrize("maps", ["none", "no map", "one", "list", "alone", "several alone"])
def test_module_may_return_logits_with_or_without_maps(maps, data):
    torch.manual_seed(0)
    model = Foreign(maps=maps)
    found = bench.evaluate(model, data, batch=50)
    assert all(module.training for module in model.modules())
    table, plain = found.answers, targets_of(data)
    assert list(table["label"]) == [data[k]["label"] for k in range(len(data))]
    np.testing.assert_array_equal(table["image"], data.triples.image)
    images = torch.stack([torch.as_tensor(data[k]["image"]) for k in range(len(data))]) / 255
    if maps in ("alone", "several alone"):
        assert "prediction" not in table
        assert not {"accuracy", *SCALES} & found.measures.keys()
    else:
        wanted = Foreign(maps="none").eval()
        wanted.load_state_dict(model.state_dict())
        answers = wanted(images, torch.from_numpy(data.triples.query)).argmax(1).numpy()
        np.testing.assert_array_equal(table["prediction"], answers)
        assert found.measures["accuracy"] == table["correct"].mean() == (answers == data.triples.label).mean()
    if maps in ("none", "no map"):
        assert found.measures["mask_correctness"] is None
        assert "mask_correctness" not in table
    else:
        brightness = images.mean(1)
        product = [brightness]
        if maps in ("list", "several alone"):
            product = [nn.functional.avg_pool2d(brightness[:, None], 4), brightness]
        np.testing.assert_allclose(table["mask_correctness"], metrics.mask_correctness(product, plain), atol=1e-6)
        np.testing.assert_allclose(table["tpr"], metrics.mask_correctness(brightness, plain), atol=1e-6)
        assert found.measures["tpr"] == pytest.approx(table["tpr"].mean())


def test_evaluated_function_may_use_gradients_and_numpy(data):
    """Grad-CAM, for example, uses both."""
    model = Foreign().eval()

    def saliency(images, query):
        images.requires_grad_()
        logits = model(images, query)
        logits.max(1).values.sum().backward()
        return logits.detach().numpy(), images.grad.abs().sum(1).numpy()

    found = bench.evaluate(saliency, data[:30])
    assert found.measures["mask_correctness"] == pytest.approx(found.measures["mask_correctness_uniform"], abs=1e-6)
    np.testing.assert_array_equal(found.answers["prediction"], bench.evaluate(model, data[:30]).answers["prediction"])


def test_evaluated_function_cannot_change_images_of_later_calls(data):
    def spoil(images, query):
        images.zero_()
        query.zero_()
        return torch.zeros(len(images), 5)

    model = Foreign().eval()
    before = bench.evaluate(model, data)
    bench.evaluate(spoil, data)
    pd.testing.assert_frame_equal(bench.evaluate(model, data).answers, before.answers)


@pytest.mark.parametrize("part", [slice(7, 30), slice(None, None, -9), slice(119, None)])
def test_slice_of_a_data_set_gives_the_rows_of_its_questions(part, mini):
    torch.manual_seed(1)
    model, every = Foreign(maps="one"), MnistRef(mini, "test", "all")
    whole, some = bench.evaluate(model, every).answers, bench.evaluate(model, every[part]).answers
    pd.testing.assert_frame_equal(some, whole[part].reset_index(drop=True).rename_axis("question"), rtol=1e-5)


def test_batch_size_of_evaluate_does_not_change_answers(data):
    torch.manual_seed(2)
    model = Foreign(maps="one")
    large, small = bench.evaluate(model, data, batch=10**6), bench.evaluate(model, data, batch=7)
    pd.testing.assert_frame_equal(large.answers, small.answers, rtol=1e-5)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda n: torch.zeros(n, 10), r"the logits have shape \(120, 10\), expected \(120, 5\)"),
        (lambda n: torch.zeros(n + 1, 5), r"the logits have shape \(121, 5\), expected \(120, 5\)"),
        (lambda n: torch.zeros(n), r"returned Tensor \(120,\); return logits \(B, 5\)"),
        (lambda n: None, r"returned a NoneType; return logits"),
        (lambda n: {}, r"returned a dict; return logits"),
        (lambda n: [], r"returned a list of 0"),
        (lambda n: (torch.zeros(n, 5),) * 3, r"a tuple of 3: Tensor \(120, 5\)"),
        (lambda n: (torch.zeros(n, 5), torch.ones(n, 2, 6, 6)), "map 1 has 2 channels"),
        (lambda n: (torch.zeros(n, 5), torch.ones(n, 49, 48)), "maps are only upsampled"),
        (lambda n: (torch.zeros(n, 5), torch.ones(n - 1, 6, 6)), "map 1 has 119 images"),
        (lambda n: (torch.zeros(n, 5), torch.ones(n, 6)), r"map 1 has shape \(120, 6\): pass \(B, 1, h, w\)"),
        (lambda n: (torch.zeros(n, 5), [torch.ones(n, 6, 6), torch.ones(1)]), "map 2 has shape"),
        (lambda n: torch.ones(n - 1, 6, 6), "map 1 has 119 images"),
        (lambda n: -torch.ones(n, 6, 6), "below zero"),
        (lambda n: torch.full((n, 6, 6), torch.nan), "maps of 120 of 120 questions are not finite; return finite"),
        (lambda n: torch.full((n, 5), torch.nan), "answers to 120 of 120 questions are not finite; return finite"),
        (lambda n: torch.zeros(n, 5, dtype=torch.complex64), "complex"),
    ],
)
def test_wrong_output_of_an_evaluated_model_is_an_error_of_one_line(output, message, data):
    with pytest.raises(ValueError, match=message) as error:
        bench.evaluate(lambda images, query: output(len(images)), data)
    assert "\n" not in str(error.value)


def test_outputs_must_have_the_same_form_in_all_batches(data):
    sizes = iter([2, 3])
    with pytest.raises(ValueError, match="for some batches only"):
        bench.evaluate(lambda images, _: torch.ones(len(images), *[5] * (next(sizes) - 1)), data, batch=60)


@pytest.mark.parametrize(
    ("model", "change", "options", "message"),
    [
        (3, {}, {}, "a model as int"),
        (Foreign(), {}, {"batch": 0}, "batch 0"),
        (Foreign(), {"transform": v2.Identity()}, {}, "has transforms"),
        (Foreign(), {"target_transform": str}, {}, "has transforms"),
        (Foreign(), {"transforms": v2.Identity()}, {}, "has transforms"),
    ],
)
def test_wrong_arguments_of_evaluate_are_usage_errors(model, change, options, message, mini):
    with pytest.raises(ValueError, match=message):
        bench.evaluate(model, MnistRef(mini, split="test", **change), **options)


def test_evaluate_refuses_a_data_set_without_questions(data, tmp_path):
    with pytest.raises(ValueError, match="no questions"):
        bench.evaluate(Foreign(), data[:0])
    with pytest.raises(UsageProblemError, match="no data set here"):
        bench.evaluate(Foreign(), tmp_path)


def test_an_inverse_variant_has_ten_classes(make):
    data = mnistref.load(make("miniinv"), "test")
    assert bench.evaluate(Foreign(10), data).answers["prediction"].between(0, 9).all()


def test_repr_of_an_evaluation_is_short(data):
    text = repr(bench.evaluate(Foreign(maps="one"), data))
    assert text.startswith("Evaluation(accuracy=0.")
    assert "mask_correctness=" in text
    assert "120 questions" in text
    assert len(text) < 200


def test_repr_of_the_measures_has_a_short_curve(data):
    """The curve itself is that of result.json."""
    measures = bench.evaluate(Foreign(maps="one"), data).measures
    assert "'pr_curve': <recall and precision at 101 points>" in repr(measures)
    assert len(repr(measures)) < 1000
    assert json.loads(json.dumps(measures["pr_curve"])) == measures["pr_curve"]
    assert bench.evaluate(Foreign(maps="none"), data).measures["pr_curve"] is None


def test_maps_that_are_zero_everywhere_are_counted_in_a_warning(data, caplog):
    """The product of two maps may be zero although neither is."""
    left = torch.zeros(4, 8, 8)
    left[0, :, :2] = left[1] = left[2, 3, 3] = 1
    right = left.flip(2)
    right[2] = left[2]
    target = torch.zeros(4, 8, 8, dtype=torch.bool)
    target[:, 2:4, 3:6] = True
    scores = bench.score_maps([left, right], target).maps["mask_correctness"]
    np.testing.assert_allclose(scores, [6 / 64, 6 / 64, 1, 6 / 64], rtol=1e-6)
    assert caplog.messages == ["2 of 4 maps are zero everywhere, and count as uniform"]
    caplog.clear()
    bench.score_maps(left[:3], target[:3])
    assert not caplog.messages
    bench.evaluate(lambda images, query: images.mean(1) * (query > 4)[:, None, None], data, batch=50)
    number = int((data.triples.query <= 4).sum())
    assert caplog.messages == [f"{number} of 120 maps are zero everywhere, and count as uniform"]


@pytest.mark.parametrize("kind", ["torch", "NumPy", "one", "several", "0 and 255"])
def test_maps_of_any_origin_are_scored(kind, data):
    rng = np.random.default_rng(0)
    target = targets_of(data[:20])
    maps = [torch.from_numpy(rng.random((20, 1, size, size))) for size in ((6,) if kind != "several" else (6, 12))]
    given = maps[0] if kind == "one" else [m.numpy() for m in maps] if kind == "NumPy" else maps
    found = bench.score_maps(given, target.numpy() * 255 if kind == "0 and 255" else target)
    of_all_maps = ["mask_correctness", "tpr", "pointing", "mask_correctness_uniform"]
    assert list(found.maps) == [*of_all_maps, "average_precision", "rank_accuracy", "iou_otsu"]
    np.testing.assert_allclose(found.maps["mask_correctness"], metrics.mask_correctness(maps, target))
    np.testing.assert_allclose(found.maps["tpr"], metrics.mask_correctness(maps[-1:], target))
    np.testing.assert_allclose(found.maps["pointing"], metrics.pointing_game(maps, target))
    np.testing.assert_allclose(found.maps["mask_correctness_uniform"], target.double().mean((1, 2)))
    assert found.measures["mask_correctness"] == pytest.approx(found.maps["mask_correctness"].mean())
    area = metrics.precision_recall(metrics.score_histogram(maps, target)).area
    assert found.measures["pr_area"] == pytest.approx(area)


def test_perfect_and_opposite_maps_have_the_extreme_scores():
    target = torch.zeros(2, 8, 8, dtype=torch.bool)
    target[:, 2:4, 3:6] = True
    best = bench.score_maps(target.float(), target)
    of_order = "average_precision", "rank_accuracy", "iou_otsu"
    assert best.measures == {
        **dict.fromkeys(("mask_correctness", "tpr", "pointing", *of_order), 1.0),
        "mask_correctness_uniform": pytest.approx(6 / 64),
        "pr_area": 1.0,
    }
    worst = bench.score_maps(1 - target.float(), target)
    assert worst.measures["mask_correctness"] == worst.measures["pointing"] == 0


def test_scores_of_no_maps_have_no_mean():
    found = bench.score_maps(torch.zeros(0, 4, 4), torch.zeros(0, 8, 8, dtype=torch.bool))
    assert len(found.maps) == 0
    assert set(found.measures.values()) == {None}


def test_wrong_maps_are_a_value_error():
    with pytest.raises(ValueError, match="pass one target per image"):
        bench.score_maps(torch.ones(2, 4, 4), torch.ones(3, 8, 8))


def test_list_models_returns_the_names_that_match():
    assert bench.list_models() == sorted(MECHANISMS)
    assert bench.list_models("ar*") == ["arnn", "arnn-ind", "arnn-ind-sampled", "arnn-sampled"]
    assert bench.list_models("ctx") == ["pan-ctx"]
    assert bench.list_models("nosuch*") == []
