"""Post-hoc maps, attacks and swapped questions in Python: they give the numbers of the commands."""

import json

import pandas as pd
import pytest
import torch

from bench import attack, create_model, load_run, saliency, score_maps, swap
from bench.runs import experiment
from mnistref import MnistRef
from mnistref.common.errors import UsageProblemError
from tests.bench.bench_command import bench
from tests.bench.runs.helpers import configured


@pytest.fixture(scope="module")
def trained(mini, tmp_path_factory):
    """A short run of pan."""
    return experiment.run(configured(mini), mini, tmp_path_factory.mktemp("trained"))


def test_saliency_function_gives_the_measures_of_the_command_and_the_maps(trained, mini):
    pytest.importorskip("captum")
    options = ["--data", mini, "--images", 8, "--device", "cpu"]
    _, out, _ = bench("saliency", trained, *options, "--map", "gradient", "--no-curves", "--json")
    (row,) = json.loads(out)
    data = MnistRef(mini, split="test")[:8]
    found = saliency(load_run(trained).model, data, "gradient")
    for name, value in found.measures.items():
        assert row[name] == pytest.approx(value, abs=2e-3)  # the record has half precision
    assert found.maps.shape == (8, 48, 48)
    torch.testing.assert_close(found.maps.sum((1, 2)), torch.ones(8))
    assert list(found.questions.columns[:4]) == ["image", "query", "label", "correct"]
    masks = torch.stack([torch.as_tensor(data[k]["mask"]) for k in range(8)])
    scored = score_maps(found.maps, masks)
    for name in ("mask_correctness", "pointing", "average_precision", "rank_accuracy", "iou_otsu"):
        assert scored.measures[name] == pytest.approx(found.measures[name], abs=1e-6)


def test_saliency_function_refuses_unknown_arguments(mini):
    data, model = MnistRef(mini, split="test")[:2], create_model("none", "mini")
    with pytest.raises(ValueError, match="explain='query'"):
        saliency(model, data, explain="query")
    with pytest.raises(ValueError, match="no map by the method attention"):
        saliency(model, data, "attention")


def test_attack_function_gives_the_numbers_of_the_command(trained, mini):
    options = ["--data", mini, "--images", 6, "--eps", "2,16", "--device", "cpu"]
    code, out, _ = bench("attack", trained, *options, "--method", "fgsm", "--json")
    assert code == 0
    expected = pd.DataFrame(json.loads(out)).drop(columns="run")
    data, model = MnistRef(mini, split="test")[:6], load_run(trained).model
    found = attack(model, data, methods="fgsm", eps=[16, 2])
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    (row,) = attack(model, data, methods=["fgsm"], regions=["target"], eps=16).to_dict("records")
    assert row == expected.set_index(["region", "norm"], drop=False).loc[("target", 16)].to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": []}, "no attack: give one or more of fgsm, pgd"),
        ({"regions": "ink"}, "no region 'ink'"),
        ({"eps": ()}, "no norm"),
        ({"eps": [None]}, "norm None"),
        ({"eps": 256}, "norm 256"),
    ],
)
def test_attack_function_refuses_unknown_attacks(arguments, message, mini):
    with pytest.raises(UsageProblemError, match=message):
        attack(lambda images, query: images.mean((2, 3)), MnistRef(mini, split="test")[:2], **arguments)


def test_intervals_of_all_questions_are_over_images(trained, mini):
    """Each image is asked about twice as often, by the same questions: the intervals remain the same."""
    data, model = MnistRef(mini, split="test")[:12], load_run(trained).model
    once, twice = range(12), [*range(12), *range(12)]
    attacks, swaps = (
        [fn(model, data.select(questions), **more) for questions in (once, twice)]
        for fn, more in ((attack, {"methods": "fgsm", "eps": 8}), (swap, {}))
    )
    pd.testing.assert_frame_equal(*attacks)
    pd.testing.assert_frame_equal(*swaps)
    every = attack(model, MnistRef(mini, split="test", queries="all")[:30], methods="fgsm", eps=8)
    assert (every["images"] == len(set(MnistRef(mini, split="test", queries="all")[:30].triples.image))).all()


def test_attack_function_refuses_answers_without_a_gradient(mini):
    with pytest.raises(ValueError, match="no gradient"):
        attack(lambda images, query: torch.zeros(len(images), 5), MnistRef(mini, split="test")[:2], methods="fgsm")


def test_swap_function_gives_the_numbers_of_the_command(trained, mini):
    code, out, _ = bench("swap", trained, "--data", mini, "--images", 10, "--device", "cpu", "--json")
    assert code == 0
    expected = pd.DataFrame(json.loads(out)).drop(columns="run")
    found = swap(load_run(trained).model, MnistRef(mini, split="test")[:10])
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_the_second_question_of_swap_is_about_the_image_of_the_first(mini):
    """Also in a slice that does not begin with the first image: the map of a digit's ink follows the question."""
    data = MnistRef(mini, split="test")[5:12]
    every = MnistRef(mini, split="test", queries="all")
    ink = {}
    for k in range(len(every)):
        if every.triples.image[k] in data.triples.image:
            pixels = every[k]["image"].float() / 255
            ink[round(float(pixels.double().sum()), 3), int(every.triples.query[k])] = every[k]["mask"].float()

    def network(images, query):
        keys = zip(images.double().sum((1, 2, 3)).tolist(), query.tolist(), strict=True)
        return torch.zeros(len(images), 5), torch.stack([ink[round(total, 3), asked] for total, asked in keys])

    (row,) = swap(network, data).to_dict("records")
    assert row["images"] > 1
    assert (row["map1_on_digit1"], row["map2_on_digit2"], row["moved"]) == pytest.approx((1, 1, 1))
    assert row["map1_on_digit2"] == row["map2_on_digit1"] == 0


def test_swap_function_refuses_a_model_without_a_map(mini):
    with pytest.raises(ValueError, match="returns no map"):
        swap(create_model("none", "mini"), MnistRef(mini, split="test")[:8])
