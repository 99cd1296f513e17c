"""A question about a black image, and the output of a network, for tests of panels and pictures."""

import torch

from bench.evaluation.panels import ImageQuestion
from bench.model import Output


def question() -> ImageQuestion:
    ink = torch.zeros(48, 48, dtype=torch.bool)
    ink[10:20, 10:20] = True
    return ImageQuestion(0, torch.zeros(48, 48, 3), 3, {1: ink}, 1.0)


def output(logits=(0.0, 1.0, 0.0, 0.0, 0.0), value: float = 0.5) -> Output:
    masks = [torch.rand(1, 1, 6, 6), torch.rand(1, 1, 3, 3)]
    masks[1][0, 0, 1, 1] = value
    return Output(torch.tensor([logits]), masks, True, 1.0, (3, 4))
