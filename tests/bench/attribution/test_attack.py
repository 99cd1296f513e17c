"""Attacks compared with foolbox and with their definition, on a small network."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.attribution.attack import Strength, attack, attacked_regions, find_names, find_regions, parse_norms
from bench.attribution.attack_names import ALL, BACKGROUND, FGSM, METHODS, OTHERS, PGD, REGIONS, TARGET
from bench.attribution.explained_network import ExplainedNetwork
from bench.model import create_model
from mnistref.common.errors import UsageProblemError
from tests.bench.attribution.small_networks import CLASSES, IMAGES, SIZE, questions, small_network


def loss(network: ExplainedNetwork, images, query, classes) -> torch.Tensor:
    with torch.no_grad():
        return F.cross_entropy(network.scores(images, query).double(), classes, reduction="none")


@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255, 0.3])
@pytest.mark.parametrize("method", METHODS)
def test_attacks_equal_those_of_foolbox(method, epsilon):
    foolbox = pytest.importorskip("foolbox")
    network, (images, query) = small_network(), questions()

    class OneQuestion(nn.Module):
        def forward(self, x):
            return network.scores(x, query)

    theirs = {
        FGSM: foolbox.attacks.LinfFastGradientAttack(random_start=False),
        PGD: foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10, random_start=False),
    }[method]
    with network.frozen():
        classes = network.probabilities(images, query).argmax(1)
        own = attack(
            network, images, query, classes, torch.ones(IMAGES, SIZE, SIZE).bool(), strength=Strength(epsilon, method)
        )
        wrapped = foolbox.PyTorchModel(OneQuestion().eval(), bounds=(0, 1))
        criterion = foolbox.criteria.Misclassification(classes)
        expected = theirs.run(wrapped, images, criterion, epsilon=epsilon)
    # A gradient that is 0 up to rounding may have either sign: a few of the 10,368 values.
    differs = (own - expected).abs() > 1e-6
    assert differs.float().mean() < 1e-3
    assert not torch.equal(own, images)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("method", METHODS)
def test_only_pixels_of_the_region_change_and_by_no_more_than_the_norm(method, region):
    network, (images, query) = small_network(), questions()
    target = torch.zeros(IMAGES, SIZE, SIZE, dtype=torch.bool)
    others = target.clone()
    target[:, 2:8, 3:9], others[:, 12:20, 4:18] = True, True
    allowed = attacked_regions(target, others)[region]
    with network.frozen():
        classes = network.probabilities(images, query).argmax(1)
        made = attack(network, images, query, classes, allowed, strength=Strength(8 / 255, method))
    change = (made - images).abs()
    assert torch.equal(made.permute(0, 2, 3, 1)[~allowed], images.permute(0, 2, 3, 1)[~allowed])
    assert change.amax() <= 8 / 255 + 1e-7
    assert (change.amax(1)[allowed] > 7.9 / 255).float().mean() > 0.9
    assert made.min() >= 0
    assert made.max() <= 1


def test_attacked_regions_divide_the_image():
    target, others = torch.zeros(2, 4, 4, dtype=torch.bool), torch.zeros(2, 4, 4, dtype=torch.bool)
    target[:, 0], others[:, 1] = True, True
    regions = attacked_regions(target, others)
    assert list(regions) == list(REGIONS)
    assert {name: int(region.sum()) for name, region in regions.items()} == {
        ALL: 32,
        TARGET: 8,
        OTHERS: 8,
        BACKGROUND: 16,
    }


def test_fgsm_is_one_step_along_the_sign_of_the_gradient():
    """For a linear network, the gradient of the cross-entropy is known."""
    weight = torch.tensor([[1.0, -2.0, 0.0], [-1.0, 1.0, 0.0]])

    def linear(images, query):
        return images.mean(dim=(2, 3)) @ weight.T

    network = ExplainedNetwork(linear, 2)
    images = torch.full((1, 3, 2, 2), 0.5)
    images[0, 0, 0, 0] = 0.99
    with network.frozen():
        everywhere = torch.ones(1, 2, 2).bool()
        made = attack(network, images, torch.tensor([0]), torch.tensor([0]), everywhere, strength=Strength(0.1, FGSM))
    # The loss of class 0 grows with score 1 − score 0, whose gradient has the signs −, +, 0.
    expected = images.clone()
    expected[0, 0], expected[0, 1] = expected[0, 0] - 0.1, expected[0, 1] + 0.1
    torch.testing.assert_close(made, expected)


def test_pgd_reaches_a_higher_loss_than_fgsm_and_both_a_higher_one_than_the_image():
    network, (images, query) = small_network(), questions()
    everywhere = torch.ones(IMAGES, SIZE, SIZE).bool()
    with network.frozen():
        classes = network.probabilities(images, query).argmax(1)
        losses = [
            loss(
                network,
                attack(network, images, query, classes, everywhere, strength=Strength(8 / 255, m)),
                query,
                classes,
            ).mean()
            for m in (FGSM, PGD)
        ]
        assert losses[1] >= losses[0] > loss(network, images, query, classes).mean()


def test_an_attack_raises_the_loss_of_an_answer_whose_probability_rounds_to_1():
    """In single precision, 1 − p is 0 here. The gradient is computed in double precision."""

    def certain(images, query):
        return 40 * images.mean(dim=(2, 3))[:, :2] * torch.tensor([1.0, 0.1])

    network = ExplainedNetwork(certain, 2)
    images, query = torch.full((1, 3, 4, 4), 0.9), torch.tensor([0])
    assert network.probabilities(images, query)[0, 0] == 1
    made = attack(network, images, query, torch.tensor([0]), torch.ones(1, 4, 4).bool(), strength=Strength(0.1, FGSM))
    torch.testing.assert_close(made[0, 0], torch.full((4, 4), 0.8))
    torch.testing.assert_close(made[0, 1], torch.full((4, 4), 1.0))


def test_a_random_mechanism_draws_the_same_samples_in_every_step():
    torch.manual_seed(0)
    model = create_model("arnn-sampled", classes=CLASSES, queries=4, size=(SIZE, SIZE), width=8).eval()
    images, query = questions()
    network = ExplainedNetwork(model, CLASSES)
    with network.frozen():
        everywhere = torch.ones(IMAGES, SIZE, SIZE).bool()
        made = [
            attack(
                network, images, query, torch.zeros(IMAGES, dtype=torch.long), everywhere, strength=Strength(0.1, PGD)
            )
            for _ in range(2)
        ]
    assert torch.equal(*made)


def test_answers_without_a_gradient_are_an_error():
    network = ExplainedNetwork(lambda images, query: images.detach().mean(dim=(2, 3)), 3)
    images, query = questions()
    with pytest.raises(ValueError, match="no gradient with respect to the images"):
        attack(network, images, query, query % 3, torch.ones(IMAGES, SIZE, SIZE).bool(), strength=Strength(0.1))


def test_answers_that_ignore_the_image_do_not_change():
    bias = torch.zeros(1, 3, requires_grad=True)
    network = ExplainedNetwork(lambda images, query: bias.expand(len(images), 3), 3)
    images, query = questions()
    made = attack(network, images, query, query % 3, torch.ones(IMAGES, SIZE, SIZE).bool(), strength=Strength(0.1))
    assert torch.equal(made, images)


def test_names_and_norms_of_attacks_are_parsed_in_the_order_of_tables():
    assert find_names("pgd,fgsm", METHODS, "attack") == (FGSM, PGD)
    assert find_names("background,all", REGIONS, "region") == (ALL, BACKGROUND)
    assert find_regions(None, has_question=False) == (ALL, TARGET, BACKGROUND)
    assert find_regions(None, has_question=True, has_masks=False) == (ALL,)
    assert find_regions("target,all", has_question=False, has_masks=False) == (ALL, TARGET)
    assert parse_norms("16,1,0.5") == (0.5, 1.0, 16.0)


@pytest.mark.parametrize("text", ["", "0", "-1", "256", "nan", "inf", "a", "1,", "1,1.0"])
def test_wrong_norms_of_attacks_are_usage_errors(text):
    with pytest.raises(UsageProblemError, match="norm"):
        parse_norms(text)


@pytest.mark.parametrize(("text", "message"), [("fgms", "fgsm"), ("", "no attack ''"), ("pgd,pgd", "given twice")])
def test_unknown_names_of_attacks_are_usage_errors(text, message):
    with pytest.raises(UsageProblemError, match=message):
        find_names(text, METHODS, "attack")
