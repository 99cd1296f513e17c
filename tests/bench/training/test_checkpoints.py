"""Checkpoints and weights: resuming, damage, and networks that differ."""

import json

import pytest
import torch

from bench.config import Recipe
from bench.model import create_model
from bench.training import checkpoints
from mnistref.common.errors import DataProblemError
from tests.bench.training.helpers import SHORT, train_with_stops, trainer_for
from tests.helpers import long_form

SLOTS = ("gates.0", "gates.1", "gates.2", "readout")


@pytest.mark.parametrize(
    "recipe", [SHORT, Recipe("pan", "rmsprop", 0.003, 64, 3, "steps", patience=50)], ids=["fast", "pan"]
)
@pytest.mark.parametrize("stop", long_form([1, 2], [2]))
def test_resuming_after_an_epoch_ends_with_the_same_bits(recipe, stop, mini, tmp_path):
    whole = trainer_for(mini, recipe)
    list(whole.epochs())
    first = trainer_for(mini, recipe)
    epochs = first.epochs()
    for _ in range(stop):
        next(epochs)
        checkpoints.save(tmp_path, first)
    second = trainer_for(mini, recipe, seed=0)
    for parameter in second.model.parameters():
        parameter.data.fill_(9.0)
    assert checkpoints.load(tmp_path, second)
    assert len(list(second.epochs())) == 3 - stop
    assert second.best_accuracy == whole.best_accuracy
    for weights in ("best_weights",):
        for name, value in getattr(whole, weights).items():
            assert torch.equal(value, getattr(second, weights)[name]), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert len(list((tmp_path / "checkpoint").iterdir())) == 2


@pytest.mark.parametrize(
    ("attn", "recipe"),
    [
        ("none,none,arnn-sampled", SHORT),
        ("none", Recipe("pan", "rmsprop", 0.003, 32, 3, "steps", patience=50)),
    ],
)
def test_resuming_between_two_steps_ends_with_the_same_bits(attn, recipe, mini, tmp_path):
    """Dropout and samples continue their random streams; stops are in first, middle and last steps."""
    whole = trainer_for(mini, recipe, attn)
    records = [{**r, "seconds": 0, "device_seconds": 0} for r in whole.epochs()]
    stops = (1, 7, 12, 13, 35, 36)
    trainer, found = train_with_stops(lambda: trainer_for(mini, recipe, attn), stops, tmp_path)
    assert found == records
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name
    for name, value in whole.best_weights.items():
        assert torch.equal(value, trainer.best_weights[name]), name


def test_missing_checkpoint_is_not_an_error(mini, tmp_path):
    assert not checkpoints.load(tmp_path, trainer_for(mini))


def drop_tensors(folder):
    next(folder.glob("*.safetensors")).unlink()


def cut_tensors(folder):
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])


def spoil_json(folder):
    (folder / "state.json").write_text("{")


def lose_a_key(folder):
    rest = json.loads((folder / "state.json").read_text())
    del rest["groups"]
    (folder / "state.json").write_text(json.dumps(rest))


@pytest.mark.parametrize("harm", [drop_tensors, cut_tensors, spoil_json, lose_a_key])
def test_a_damaged_checkpoint_is_refused(harm, mini, tmp_path):
    trainer = trainer_for(mini)
    next(trainer.epochs())
    checkpoints.save(tmp_path, trainer)
    harm(tmp_path / "checkpoint")
    with pytest.raises(DataProblemError, match="damaged checkpoint"):
        checkpoints.load(tmp_path, trainer_for(mini))


def test_weights_of_another_network_are_refused(tmp_path):
    checkpoints.save_weights(tmp_path / "w.safetensors", create_model("pan", variant="mini"))
    model = create_model("pan", variant="mini")
    checkpoints.load_weights(tmp_path / "w.safetensors", model)
    with pytest.raises(DataProblemError, match="do not fit"):
        checkpoints.load_weights(tmp_path / "w.safetensors", create_model("arnn", variant="mini"))
    with pytest.raises(DataProblemError, match="no weights here"):
        checkpoints.load_weights(tmp_path / "none.safetensors", model)


@pytest.mark.parametrize(
    ("attn", "start", "variant", "anew", "left"),
    [
        ("pan", "mref", "mini", [], []),
        ("none", "mref", "mbginv", ["head.classify"], ["head.classify"]),
        ("pan", "mref", "mbginv", *[["head.classify", *(f"{slot}.attend.embedding" for slot in SLOTS)]] * 2),
        ("arnn", "mref", "mbgb", ["stages.4", "gates.3"], []),
        ("arnn", "mbgb", "mref", [], ["stages.4", "gates.3"]),
    ],
)
def test_matching_weights_are_loaded_and_the_others_are_named(attn, start, variant, anew, left):
    before, model = (create_model(attn, variant=name).double() for name in (start, variant))
    drawn = {name: value.clone() for name, value in model.state_dict().items()}
    assert checkpoints.load_matching_weights(before.state_dict(), model) == (anew, left)
    for name, value in model.state_dict().items():
        stays = any(name.startswith(f"{part}.") for part in anew)
        assert torch.equal(value, drawn[name] if stays else before.state_dict()[name]), name


def test_a_single_tensor_that_does_not_fit_is_named():
    """The bias of a classifier may fit while its weights do not."""
    before, model = create_model("none", variant="mref"), create_model("none", variant="mref")
    weights = before.state_dict()
    weights["head.classify.weight"] = weights["head.classify.weight"][:, :-1]
    assert checkpoints.load_matching_weights(weights, model) == (["head.classify.weight"], ["head.classify.weight"])
    assert torch.equal(model.head.classify.bias, before.head.classify.bias)
