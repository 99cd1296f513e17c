"""The multiplications of a network for one image."""

import pytest
import torch

from bench.networks import resolve
from bench.profiling.multiplications import count_multiplications


def count(
    attn: str, network: str, side: int = 32, classes: int = 10, queries: int = 0, width: int | None = None
) -> int:
    return count_multiplications(resolve(attn, width, network), classes, queries, (side, side))


@pytest.mark.parametrize(
    ("network", "attn", "millions"),
    [("vgg", "none", 313), ("vgg-late", "none", 3786), ("vgg-att", "ltpa-dp", 3786), ("vgg-att", "ltpa-pc", 3739)],
)
def test_late_pooling_multiplies_twelve_times_as_often(network, attn, millions):
    assert round(count(attn, network) / 1e6) == millions


def test_resnet18_multiplies_555_million_times():
    first, stages, head = 27 * 64, [], 512 * 100
    for stage, channels in enumerate((64, 128, 256, 512)):
        positions = (32 >> stage) ** 2
        convolutions = 9 * channels**2 * 4 if not stage else 9 * channels**2 * 3.5 + channels**2 / 2
        stages.append(positions * convolutions)
    assert count("none", "resnet18", classes=100) == first * 32**2 + sum(stages) + head


def test_diagonal_lstms_multiply_at_every_position_in_both_directions():
    """AttentionRNN: context conv 3×3, K^x of 4t × 32 and K^h of 4t × 2t in 2 directions, and 2 outputs, with t = 32."""
    added = count("arnn", "resnet18", width=4) - count("none", "resnet18", width=4)
    expected = 0
    for stage, side in enumerate((32, 16, 8, 4)):
        context = 9 * 32 * (4 << stage)
        lstm = 2 * (4 * 32 * 32 + 4 * 32 * 64) + 2 * 2 * 32
        expected += 2 * side**2 * (context + lstm)
    assert added == expected


def test_questions_add_their_columns_of_the_classifier():
    assert count("none", "attribute", 50, queries=10) - count("none", "attribute", 50) == 10 * 10


def test_counting_draws_no_random_numbers():
    state = torch.get_rng_state()
    count("pan", "vgg", width=3)
    assert torch.equal(torch.get_rng_state(), state)
