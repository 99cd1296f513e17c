"""Arguments of the compiled passes of a gate: images, questions in any order, and an image without a question."""

import numpy as np
import torch

from bench.kernels.gate.work_division import GroupedQuestions, questions_of

IMAGES, CHANNELS = 3, 16
INDEX = torch.tensor([2, 0, 2, 2, 0])
"""The image of each question. There is no question about image 1."""


def questions() -> GroupedQuestions:
    return questions_of(INDEX, IMAGES)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Return random numbers f4 of this shape."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
