"""The decorator of map methods."""

import torch

from bench.attribution.map_method import map_method


def test_a_decorated_function_is_a_map_method():
    """Its name is that of the function, and it can be called like the function."""

    @map_method("the red channel", "nowhere", is_slow=True, caution="none")
    def red_channel(network, images, query, classes):
        return images[:, 0]

    assert (red_channel.name, red_channel.summary, red_channel.source) == ("red-channel", "the red channel", "nowhere")
    assert (red_channel.is_slow, red_channel.is_baseline, red_channel.caution) == (True, False, "none")
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(red_channel(None, images, None, None), images[:, 0])
