"""Data on the device, the training loop, its recipes, and going on after an interruption."""

import contextlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import FIRST_RECIPES, PRESETS, RECIPES, Recipe, RecipeOverrides, choose_recipe, get_recipe
from bench.data.loading import load_split
from bench.distributed.process_group import SINGLE_PROCESS
from bench.evaluation import evaluate
from bench.model import create_model
from bench.training import checkpoints
from bench.training.trainer import DivergedError, Trainer
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import MnistRef

CPU = torch.device("cpu")
SHORT = Recipe("fast", "adam", lr=0.003, batch=32, epochs=3, schedule="onecycle")
SLOTS = ("gates.0", "gates.1", "gates.2", "readout")


def trainer_for(mini, recipe: Recipe = SHORT, attn: str = "pan", seed: int = 0, precision: str = "fp32") -> Trainer:
    torch.manual_seed(seed)
    model = create_model(attn, variant="mini").to(memory_format=torch.channels_last)
    train, val = (load_split(mini, s, "one", CPU) for s in ("train", "val"))
    return Trainer(recipe, model, train, val, seed, ComputeConfig(CPU, precision))


@pytest.mark.parametrize("queries", ["one", "all", "author"])
def test_batches_hold_what_the_data_set_holds(queries, mini):
    split, dataset = load_split(mini, "test", queries, CPU, masks=True), MnistRef(mini, "test", queries)
    assert len(split) == len(dataset)
    seen = 0
    for batch in split.batches(50):
        masks = split.masks(batch.at)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for k in range(0, len(batch.at), 7):
            sample = dataset[int(batch.at[k])]
            image = batch.images[k if batch.image_index is None else batch.image_index[k]]
            torch.testing.assert_close(image, sample["image"].float() / 255)
            assert (int(batch.query[k]), int(batch.label[k])) == (sample["query"], sample["label"])
            assert torch.equal(masks[k], torch.as_tensor(sample["mask"]))
            assert float(split.scale[batch.at[k]]) == sample["scale"]
        seen += len(batch.at)
    assert seen == len(split)


def test_masks_are_loaded_only_for_a_test(mini):
    with pytest.raises(ValueError, match="without masks"):
        load_split(mini, "val", "one", CPU).masks(torch.tensor([0]))


def test_training_lowers_the_loss_and_keeps_the_best_weights(mini):
    trainer = trainer_for(mini, Recipe("fast", "adam", 0.003, 20, 6, "onecycle"))
    records = list(trainer.epochs())
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["train_loss"] < records[0]["train_loss"] - 0.1
    best = max(records, key=lambda r: r["val_accuracy"])
    assert trainer.best_accuracy == best["val_accuracy"]
    assert trainer.best_epoch == best["epoch"]
    trainer.model.load_state_dict(trainer.best_weights)
    assert evaluate.accuracy(trainer.model, trainer.val, trainer.batch) == trainer.best_accuracy


def test_validation_accuracy_is_the_share_of_right_answers(mini):
    trainer = trainer_for(mini)
    trainer.model.eval()
    right = 0
    dataset = MnistRef(mini, "val")
    for sample in (dataset[i] for i in range(len(dataset))):
        logits = trainer.model(sample["image"][None].float() / 255, torch.tensor([sample["query"]])).logits
        right += int(logits.argmax()) == sample["label"]
    assert evaluate.accuracy(trainer.model, trainer.val) == pytest.approx(right / 100, abs=0.011)


@pytest.mark.parametrize("attn", ["none", "san", "pan", "pan,none"])
def test_every_measure_of_a_test(attn, mini):
    torch.manual_seed(0)
    split = load_split(mini, "test", "one", CPU, masks=True)
    result, answers = evaluate.test(create_model(attn, variant="mini"), split, 50, SINGLE_PROCESS)
    assert result["n_test"] == 120
    assert result["n_scale_0.5_1.0"] == 120
    assert result["accuracy"] == result["accuracy_scale_0.5_1.0"]
    assert result["accuracy_scale_2.5_3.0"] is None
    area = np.mean([split.masks(torch.tensor([k])).float().mean().item() for k in range(120)])
    assert result["mask_correctness_uniform"] == pytest.approx(area, rel=1e-5)
    maps = [result[key] for key in ("mask_correctness", "tpr", "pointing")]
    if attn == "none":
        assert maps == [None, None, None]
    elif attn == "pan,none":  # the last slot has no map to look at
        assert maps[1] is None
        assert 0 <= maps[0] <= 1
    else:
        assert all(0 <= value <= 1 for value in maps)
    if attn == "san":
        assert result["mask_correctness"] == pytest.approx(result["tpr"])
    measured_too = {key for key in ("mask_correctness", "tpr", "pointing") if result[key] is not None}
    assert set(answers) == {"answer", "right", "scale_bin"} | measured_too
    for key in measured_too:
        assert answers[key].double().mean() == pytest.approx(result[key], rel=2e-3)
    assert answers["right"].double().mean() == result["accuracy"]
    assert torch.equal(answers["answer"] == split.label, answers["right"].bool())
    assert answers["scale_bin"].tolist() == [0] * 120
    assert (result["pr_area"] is None) == (attn == "none")


def test_one_seed_gives_one_outcome(mini):
    runs = [trainer_for(mini) for _ in range(2)]
    records = [[{**r, "seconds": 0} for r in run.epochs()] for run in runs]
    assert records[0] == records[1]
    for a, b in zip(*(run.model.state_dict().values() for run in runs), strict=True):
        assert torch.equal(a, b)
    other = [{**r, "seconds": 0} for r in trainer_for(mini, seed=1).epochs()]
    assert other != records[0]


@pytest.mark.parametrize(
    "recipe", [SHORT, Recipe("pan", "rmsprop", 0.003, 64, 3, "steps", patience=50)], ids=["fast", "pan"]
)
@pytest.mark.parametrize("stop", [1, 2])
def test_going_on_from_a_checkpoint_ends_with_the_same_bits(recipe, stop, mini, tmp_path):
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


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("attn", "recipe"),
    [
        ("none,none,arnn-sampled", SHORT),
        ("none", Recipe("pan", "rmsprop", 0.003, 32, 3, "steps", patience=50)),
    ],
)
def test_going_on_between_two_steps_ends_with_the_same_bits(attn, recipe, mini, tmp_path):
    """Dropout and samples are drawn on from where they were; stopped in the first, a middle and the last step."""
    whole = trainer_for(mini, recipe, attn)
    records = [{**r, "seconds": 0} for r in whole.epochs()]
    trainer, found = trainer_for(mini, recipe, attn), []
    for stop in (1, 7, 12, 13, 35, 36, None):

        def on_step(trainer=trainer, stop=stop):
            if trainer.steps_done == stop:
                checkpoints.save(tmp_path, trainer)
                raise Stopped

        with contextlib.suppress(Stopped):
            for record in trainer.epochs(on_step):
                found.append({**record, "seconds": 0})
        torch.manual_seed(stop or 0)  # another process draws something else
        trainer = trainer_for(mini, recipe, attn) if stop else trainer
        assert not stop or checkpoints.load(tmp_path, trainer)
    assert found == records
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, trainer.model.state_dict()[name]), name
    for name, value in whole.best_weights.items():
        assert torch.equal(value, trainer.best_weights[name]), name


def test_no_checkpoint_is_no_error(mini, tmp_path):
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


def test_weights_of_another_network_do_not_fit(tmp_path):
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
def test_what_two_networks_share_is_given_over_and_the_rest_is_named(attn, start, variant, anew, left):
    before, model = (create_model(attn, variant=name).double() for name in (start, variant))
    drawn = {name: value.clone() for name, value in model.state_dict().items()}
    assert checkpoints.load_matching_weights(before.state_dict(), model) == (anew, left)
    for name, value in model.state_dict().items():
        stays = any(name.startswith(f"{part}.") for part in anew)
        assert torch.equal(value, drawn[name] if stays else before.state_dict()[name]), name


def test_a_tensor_that_alone_does_not_fit_is_named_itself():
    """As where a network has its classifier's bias, but not its weights."""
    before, model = create_model("none", variant="mref"), create_model("none", variant="mref")
    weights = before.state_dict()
    weights["head.classify.weight"] = weights["head.classify.weight"][:, :-1]
    assert checkpoints.load_matching_weights(weights, model) == (["head.classify.weight"], ["head.classify.weight"])
    assert torch.equal(model.head.classify.bias, before.head.classify.bias)


def learning_rates(recipe: Recipe, mini) -> list[float]:
    """Of each epoch, the schedule run without the network."""
    trainer = trainer_for(mini, recipe, attn="none")

    def idle(current, on_step):
        current.sums[3] = 1
        trainer.optimizer.step()
        trainer.scheduler.step()

    trainer._train_epoch = idle
    return [record["lr"] for record in trainer.epochs()]


def test_the_pan_recipe_divides_the_rate_at_31_and_every_12_epochs(mini):
    rates = learning_rates(replace(RECIPES["pan"], epochs=60), mini)
    for epoch, rate in enumerate(rates, start=1):
        drops = sum(epoch >= at for at in (31, 43, 55))
        assert rate == pytest.approx(0.003 / 1.5**drops), epoch


def test_the_pan_recipe_is_the_papers():
    recipe = RECIPES["pan"]
    assert (recipe.optimizer, recipe.lr, recipe.batch, recipe.epochs, recipe.patience, recipe.clip) == (
        "rmsprop", 0.003, 200, 300, 50, 5.0,
    )  # fmt: skip


def test_rmsprop_has_the_papers_constants(mini):
    group = trainer_for(mini, get_recipe("pan"), attn="none").optimizer.param_groups[0]
    assert (group["alpha"], group["eps"]) == (0.9, 1e-6)


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing(mini):
    trainer, rates = trainer_for(mini, attn="none"), []
    list(trainer.epochs(on_step=lambda: rates.append(trainer.optimizer.param_groups[0]["lr"])))
    assert len(rates) == 3 * (400 // 32)
    assert max(rates) == pytest.approx(0.003, rel=1e-3)
    assert rates[-1] < 0.01 * max(rates)


def test_training_stops_when_patience_is_over(mini, monkeypatch):
    values = iter([0.3, 0.5, 0.4, 0.5, 0.2, 0.9])
    monkeypatch.setattr("bench.training.trainer.accuracy", lambda *_: next(values))
    trainer = trainer_for(mini, Recipe("pan", "rmsprop", 0.003, 200, 6, "steps", patience=3), attn="none")
    assert len(list(trainer.epochs())) == 5
    assert (trainer.best_epoch, trainer.best_accuracy) == (2, 0.5)


def test_gradients_are_clipped(mini, monkeypatch):
    norms = []
    original = torch.nn.utils.clip_grad_norm_

    def spy(parameters, limit):
        parameters = list(parameters)
        total = original(parameters, limit)
        norms.append((limit, float(torch.stack([p.grad.norm() for p in parameters]).norm())))
        return total

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    trainer = trainer_for(mini, Recipe("fast", "adam", 0.003, 32, 1, "onecycle", clip=0.01))
    list(trainer.epochs())
    assert all(limit == 0.01 and norm < 0.0101 for limit, norm in norms)


def test_a_loss_that_is_no_number_ends_the_run(mini):
    trainer = trainer_for(mini, Recipe("fast", "rmsprop", lr=math.inf, batch=32, epochs=2, schedule="steps"))
    with pytest.raises(DivergedError, match="epoch 1"):
        list(trainer.epochs())


def spoil_the_gradient(trainer: Trainer) -> None:
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * math.nan)


def spoil_the_loss(trainer: Trainer) -> None:
    trainer.model.head.classify.register_forward_hook(lambda module, given, out: out * math.inf)


@pytest.mark.parametrize("spoil", [spoil_the_gradient, spoil_the_loss])
def test_what_is_no_number_ends_the_run_at_once(spoil, mini):
    trainer, steps = trainer_for(mini), []

    def on_step():
        steps.append(1)
        if len(steps) == 5:
            spoil(trainer)

    with pytest.raises(DivergedError, match=r"epoch 1, step 6 of 12"):
        list(trainer.epochs(on_step))
    assert len(steps) == 5


def test_a_weight_that_is_no_number_ends_the_run(mini):
    """One that no image has met yet, so that loss and gradient are still numbers."""
    trainer = trainer_for(mini)
    trainer.model.register_parameter("idle", torch.nn.Parameter(torch.tensor(math.nan)))
    with pytest.raises(DivergedError, match="a weight"):
        next(trainer.epochs())


def test_what_is_no_digit_is_faded_in(make):
    folder = make("mdist", sizes={"train": 60, "val": 20, "test": 30})
    split = load_split(folder, "train", "one", CPU, masks=True)
    at = torch.arange(20)
    full, half, none = (split.batch(at, background).images for background in (1.0, 0.5, 0.0))
    digits = (split.instance[split.image[at]] > 0).unsqueeze(1).expand_as(full)
    assert torch.equal(full[digits], none[digits])
    assert none[~digits].eq(0).all()
    assert full[~digits].gt(0).any()
    assert torch.equal(half[~digits], full[~digits] / 2)
    assert none.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="without masks"):
        load_split(folder, "train", "one", CPU).batch(at, 0.5)


def test_the_background_comes_over_the_first_steps(mini):
    trainer = trainer_for(mini, replace(SHORT, fade=0.5))  # of 3 epochs of 12 steps
    brightness = []
    for trainer.epoch in range(3):
        brightness += [trainer._background_brightness(step) for step in range(12)]
    assert brightness[:18] == [k / 18 for k in range(18)]
    assert brightness[18:] == [1.0] * 18
    assert trainer_for(mini)._background_brightness(0) == 1.0
    assert replace(SHORT, fade=0.5).label == "fast,batch=32,epochs=3,fade=0.5"


def test_batches_are_whole_and_a_small_set_is_one_batch(mini):
    assert trainer_for(mini, Recipe("fast", "adam", 0.003, 150, 1, "onecycle")).steps_per_epoch == 2
    few = trainer_for(mini, Recipe("fast", "adam", 0.003, 500, 1, "onecycle"))
    assert (few.batch, few.steps_per_epoch) == (400, 1)
    assert len(list(few.epochs())) == 1


@pytest.mark.parametrize("attn", ["pan", "arnn"])
def test_half_precision_trains(attn, make):
    few = make("mini", sizes={"train": 60, "val": 20, "test": 20})  # it is slow without instructions for it
    trainer = trainer_for(few, replace(SHORT, epochs=1), attn, precision="bf16")
    records = list(trainer.epochs())
    assert all(math.isfinite(r["train_loss"]) for r in records)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


def test_an_unknown_recipe():
    with pytest.raises(UsageProblemError, match="did you mean 'fast'"):
        get_recipe("fats")


def test_the_label_of_a_recipe_says_what_was_changed():
    assert FIRST_RECIPES["fast"].label == "fast"
    assert get_recipe("fast").label == "fast,batch=32,epochs=3,questions=all"
    assert replace(RECIPES["pan"], epochs=7, lr=0.1).label == "pan,lr=0.1,epochs=7"


def test_the_users_choice_comes_before_the_presets():
    quick = PRESETS["quick"]
    assert choose_recipe(quick) == quick.recipe
    assert choose_recipe(quick, "pan") == RECIPES["pan"]
    assert choose_recipe(quick, None, RecipeOverrides(epochs=9)) == replace(quick.recipe, epochs=9)
    overrides = RecipeOverrides(batch=16, lr=0.001)
    assert choose_recipe(quick, None, overrides).label == "fast,lr=0.001,batch=16,epochs=4,questions=all"
