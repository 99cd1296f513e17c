"""A sheet of maps: one row of images, and one row of maps for each method, with the queried digit outlined. Pure."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

OUTLINE = (255, 0, 255)


def draw_sheet(images: Tensor, target: Tensor, maps: Mapping[str, Tensor], tile: int) -> np.ndarray:
    """Return a picture of (1 + methods) rows and N columns of square tiles: u1 ((1 + M) · tile, N · tile, 3).

    Args:
        images: f4 (N, 3, H, W) in 0 … 1.
        target: bool (N, H, W), the ink of the queried digits.
        maps: method → (N, H, W), not negative. Each map is drawn in grey from 0 to its maximum.
        tile: side of a tile in pixels.
    """
    edge = _edge(_resize(target[:, None].float(), tile)[:, 0] > 0.5)
    rows = [_resize(images, tile)]
    for scores in maps.values():
        peak = scores.amax((1, 2), keepdim=True)
        grey = _resize((scores / torch.where(peak > 0, peak, 1))[:, None], tile)
        rows.append(grey.expand(-1, 3, -1, -1))
    sheet = torch.stack(rows).clamp(0, 1).mul(255).round().to(torch.uint8)
    sheet = torch.where(edge[:, None], torch.tensor(OUTLINE, dtype=torch.uint8)[:, None, None], sheet)
    methods, columns = len(rows), len(images)
    picture: np.ndarray = sheet.permute(0, 3, 1, 4, 2).reshape(methods * tile, columns * tile, 3).numpy()
    return picture


def _resize(pixels: Tensor, tile: int) -> Tensor:
    return F.interpolate(pixels.cpu().float(), (tile, tile), mode="bilinear", align_corners=False, antialias=True)


def _edge(inside: Tensor) -> Tensor:
    """Return the pixels outside a mask (N, H, W) that touch it."""
    wider = F.max_pool2d(inside[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    return wider & ~inside
