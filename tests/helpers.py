"""What several tests need."""

import numpy as np

from mnistref.render import Photos


def no_photos() -> Photos:
    nothing = np.zeros(0, np.int64)
    pixels = np.zeros(0, np.uint8)
    pixels.flags.writeable = False
    return Photos(pixels, nothing, nothing, nothing, nothing, 1)


def reread(path, images: int, canvas: int):
    """A shard's arrays, to be changed."""
    from mnistref.shards import read_whole_shard

    return read_whole_shard(path, images, canvas)
