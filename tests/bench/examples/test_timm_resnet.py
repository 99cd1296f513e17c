"""The example with a network of timm: it runs, and its lines have the promised numbers."""

import re

import pytest
import torch

from bench.examples import timm_resnet
from mnistref import MnistRef

pytest.importorskip("timm")
pytest.importorskip("captum")


def test_the_example_with_timm_trains_tests_and_explains(mini, monkeypatch, capsys):
    monkeypatch.setattr(timm_resnet, "EXPLAINED", 4)
    timm_resnet.main(str(mini), 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert int(lines[0].split()[0]) >= 1
    assert re.fullmatch(r"accuracy [\d.]+ % \(without the question 5[\d.]+ %\)", lines[1])
    assert [line.split()[0] for line in lines[2:]] == list(timm_resnet.METHODS)
    numbers = [float(word) for line in lines[2:] for word in line.split()[2::2]]
    assert len(numbers) == 4 * len(timm_resnet.METHODS)
    assert all(0 <= number <= 1 for number in numbers)


def test_a_step_of_the_example_with_timm_asks_all_questions_about_its_images(mini):
    data = MnistRef(mini, split="train", queries="all")
    images, index, query, label = next(timm_resnet.steps(data, 4))
    assert images.shape == (4, 3, 48, 48)
    assert len(index) == len(query) == len(label)
    pixels = {data.read_image(k)[0].numpy().tobytes(): k for k in range(400)}
    for number in range(4):
        asked = data.triples.image == pixels[(255 * images[number]).round().byte().numpy().tobytes()]
        assert query[index == number].tolist() == data.triples.query[asked].tolist()
        assert label[index == number].tolist() == data.triples.label[asked].tolist()


def test_the_example_network_with_timm_depends_on_the_query_and_shares_the_features():
    torch.manual_seed(0)
    network = timm_resnet.QueriedResNet(5, 10).eval()
    images, query = torch.rand(2, 3, 48, 48), torch.tensor([0, 1, 1])
    logits, maps = network.answer(network.features(images)[[0, 0, 1]], query)
    assert logits.shape == (3, 5)
    assert maps.shape == (3, 6, 6)
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(3))
    assert not torch.allclose(logits[0], logits[1])
    alone = network(images[[0, 0, 1]], query)
    torch.testing.assert_close(alone, (logits, maps))
