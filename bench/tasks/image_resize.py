"""Images of any size as squares: the central square is cropped and resized. Pure."""

import numpy as np
from PIL import Image


def square_image(image: Image.Image, side: int) -> np.ndarray:
    """Return an image of mode RGB as u1 (side, side, 3), resized bilinearly with antialiasing."""
    return np.asarray(_square(image, side, Image.Resampling.BILINEAR))


def square_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """Return a mask, bool (H, W), as u1 (side, side) of 0 and 1, by its nearest pixels."""
    return np.asarray(_square(Image.fromarray(mask.astype(np.uint8)), side, Image.Resampling.NEAREST))


def square_images(images: np.ndarray, side: int) -> np.ndarray:
    """Return images, u1 (N, H, W, 3), as u1 (N, side, side, 3)."""
    if images.shape[1:3] == (side, side):
        return np.ascontiguousarray(images)
    return np.stack([square_image(Image.fromarray(image), side) for image in images])


def _square(image: Image.Image, side: int, how: Image.Resampling) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    cropped = image.crop((left, top, left + short, top + short))  # first, because filters reach beyond a `box`
    return cropped.resize((side, side), how)
