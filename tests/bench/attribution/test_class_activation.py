"""Class activation maps compared with the scores of the classes, and with a direct computation."""

import pytest
import torch

import bench
from bench.attribution.class_activation import cam, class_activation
from bench.attribution.explained_network import ExplainedNetwork
from bench.evaluation.map_scores import otsu_threshold

SIDE, CLASSES = 24, 4
IMAGES = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def explained(attn: str, network: str, queries: int = 0) -> ExplainedNetwork:
    torch.manual_seed(1)
    width = 1 if network == "resnet164" else 4
    model = bench.create_model(
        attn, classes=CLASSES, queries=queries, size=(SIDE, SIDE), width=width, network=network
    ).eval()
    return ExplainedNetwork(model, CLASSES)


def above_threshold(scores: torch.Tensor) -> torch.Tensor:
    """Return which positions of a map (h, w) lie above Otsu's threshold."""
    flat = scores.flatten()[None]
    return flat > otsu_threshold(flat)[:, None]


@pytest.mark.parametrize(
    ("network", "attn", "queries"),
    [
        ("resnet18", "none", 0),
        ("resnet18", "none", 3),
        ("resnet18", "cbam", 0),
        ("resnet164", "none", 0),
        ("vgg-gap", "none", 0),
        ("vgg-gap", "none", 3),
    ],
)
def test_the_mean_of_the_map_and_the_rest_of_the_last_layer_are_the_score(network, attn, queries):
    found = explained(attn, network, queries)
    query, classes = torch.tensor([0, 2, 1]), torch.tensor([3, 0, 1])
    maps = class_activation(found, IMAGES, query, classes)
    head = found.network.head.classify
    rest = head.bias[classes]
    if queries:
        rest = rest + head.weight[classes, head.in_features - queries + query]
    scores = found.scores(IMAGES, query).gather(1, classes[:, None]).squeeze(1)
    torch.testing.assert_close(maps.mean((1, 2)) + rest, scores)
    assert tuple(maps.shape[1:]) == found.network.layout.slots[-1].size


def test_the_map_weights_the_last_features_by_the_weights_of_the_class():
    found = explained("none", "resnet18")
    kept = []
    found.network.layer4[-1].register_forward_hook(lambda _, __, out: kept.append(out.detach()))
    classes = torch.tensor([3, 0, 1])
    maps = cam(found, IMAGES, torch.zeros(3, dtype=torch.long), classes)
    for k, of_class in enumerate(classes.tolist()):
        features, weights = kept[0][k].double(), found.network.head.classify.weight[of_class]
        direct = sum(w * channel for w, channel in zip(weights, features, strict=True)).detach()
        torch.testing.assert_close(maps[k].double(), direct - direct.min(), rtol=1e-5, atol=1e-6)
        raised = maps[k].double() + 3
        assert torch.equal(above_threshold(direct), above_threshold(raised))
    assert (maps >= 0).all()


@pytest.mark.parametrize(
    ("network", "attn"),
    [("attribute", "none"), ("vgg", "none"), ("vgg-late", "none"), ("vgg-att", "none"), ("resnet18", "san")],
)
def test_networks_with_another_end_have_no_class_activation_map(network, attn):
    found = explained(attn, network)
    assert cam(found, IMAGES, torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.long)) is None


def test_functions_have_no_class_activation_map():
    found = ExplainedNetwork(lambda images, query: images.mean((2, 3)), 3)
    assert cam(found, IMAGES, torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.long)) is None
