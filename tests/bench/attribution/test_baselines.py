"""Maps that ignore the network."""

import torch

from bench.attribution import baselines

IMAGES, NOTHING = torch.zeros(2, 3, 8, 12), torch.zeros(2, dtype=torch.long)


def test_the_uniform_map_is_the_same_everywhere():
    assert torch.equal(baselines.uniform(None, IMAGES, NOTHING, NOTHING), torch.ones(2, 1, 1))


def test_the_center_map_is_a_gaussian_of_a_quarter_of_each_side():
    maps = baselines.center(None, IMAGES, NOTHING, NOTHING)
    assert maps.shape == (2, 8, 12)
    assert torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps, maps.flip(1, 2))
    assert int(maps[0].argmax()) in {3 * 12 + 5, 3 * 12 + 6, 4 * 12 + 5, 4 * 12 + 6}
    rows, columns = ((torch.arange(side) + 0.5 - side / 2) / (0.25 * side) for side in (8, 12))
    torch.testing.assert_close(maps[0], torch.exp(-(rows[:, None] ** 2 + columns**2) / 2))


def test_the_random_map_follows_the_global_seed():
    torch.manual_seed(3)
    maps = baselines.random(None, IMAGES, NOTHING, NOTHING)
    assert maps.shape == (2, 8, 12)
    torch.manual_seed(3)
    assert torch.equal(maps, torch.rand(2, 8, 12))
