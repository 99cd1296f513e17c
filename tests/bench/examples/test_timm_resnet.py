"""The example with a network of timm: it runs, and its lines have the promised numbers."""

import pytest
import torch

from bench.examples import timm_resnet

pytest.importorskip("timm")
pytest.importorskip("captum")


def test_the_example_with_timm_trains_tests_and_explains(mini, monkeypatch, capsys):
    monkeypatch.setattr(timm_resnet, "EXPLAINED", 4)
    timm_resnet.main(str(mini), 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert int(lines[0].split()[0]) >= 1
    assert lines[1].startswith("accuracy ")
    assert [line.split()[0] for line in lines[2:]] == list(timm_resnet.METHODS)
    numbers = [float(word) for line in lines[2:] for word in line.split()[2::2]]
    assert len(numbers) == 12
    assert all(0 <= number <= 1 for number in numbers)


def test_the_example_network_with_timm_depends_on_the_query():
    torch.manual_seed(0)
    network = timm_resnet.QueriedResNet(5, 10).eval()
    images = torch.rand(1, 3, 48, 48).expand(2, -1, -1, -1)
    first, second = network(images, torch.tensor([0, 1]))
    assert first.shape == (5,)
    assert not torch.allclose(first, second)
