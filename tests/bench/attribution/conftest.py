"""A network that answers by the digit's brightness, and a few questions."""

import pytest
import torch

from bench.attribution.explained_network import ExplainedNetwork
from bench.data.loading import load_questions
from bench.model import create_model
from mnistref import MnistRef


@pytest.fixture(scope="package")
def split(mini):
    """Six test questions with masks."""
    return load_questions(MnistRef(mini, split="test")[:6], torch.device("cpu"))


@pytest.fixture
def network() -> ExplainedNetwork:
    """An untrained network with a map."""
    torch.manual_seed(0)
    return ExplainedNetwork(create_model("pan-ctx", "mini").eval(), 5)


@pytest.fixture
def batch(split):
    """The first four of the questions."""
    return split.batch(torch.arange(4))
