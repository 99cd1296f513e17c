"""Accuracy and measures of a network on a split."""

import numpy as np
import pytest
import torch

from bench.data.loading import load_split
from bench.distributed.process_group import SINGLE_PROCESS
from bench.evaluation import evaluate
from bench.model import create_model
from mnistref.dataset import MnistRef
from tests.bench.training.helpers import CPU, trainer_for


def test_validation_accuracy_is_the_share_of_right_answers(mini):
    trainer = trainer_for(mini)
    trainer.model.eval()
    right = 0
    dataset = MnistRef(mini, "val")
    for sample in (dataset[i] for i in range(len(dataset))):
        logits = trainer.model(sample["image"][None].float() / 255, torch.tensor([sample["query"]])).logits
        right += int(logits.argmax()) == sample["label"]
    assert evaluate.accuracy(trainer.model, trainer.val) == pytest.approx(right / 100, abs=0.011)


def test_answers_to_all_questions_have_the_index_of_their_image(mini):
    split = load_split(mini, "test", "all", CPU, masks=True)
    found = evaluate.test(create_model("none", variant="mini"), split, 50, SINGLE_PROCESS).answers
    assert found["image"].dtype == torch.int32
    assert torch.equal(found["image"].long(), split.image)
    assert len(found["image"].unique()) == 120 < len(found["image"])


@pytest.mark.parametrize("attn", ["none", "san", "pan", "pan,none"])
def test_test_of_a_network_returns_every_measure(attn, mini):
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
    elif attn == "pan,none":  # the last slot has no map
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
