"""Where a map lies in the image, once spatial transformers have sampled the features anew.

Positions are in −1 … 1 from the first to the last edge. A frame (B, 3, 3) takes a position of the features to one of
the image, in homogeneous coordinates.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_AREA = 1e-6
"""A transformer that shrinks its window to less than this share of the image counts as one of this share."""


def enter(frame: Tensor | None, warp: Tensor | None) -> Tensor | None:
    """The frame of features that a warp (B, 2, 3) drew from features of `frame`; None is the image's own."""
    if warp is None:
        return frame
    warp = warp.float()
    bottom = torch.eye(3, device=warp.device)[2:].expand(len(warp), 1, 3)
    inner = torch.cat([warp, bottom], dim=1)
    return inner if frame is None else frame @ inner


def place(mask: Tensor, frame: Tensor | None) -> Tensor:
    """A map (B, 1, H, W) of features of `frame`, as it lies in the image: the same size, 0 where it does not reach."""
    if frame is None or not len(mask):
        return mask
    grid = F.affine_grid(_inverse(frame), list(mask.shape), align_corners=False)
    return F.grid_sample(mask.float(), grid.to(torch.float32), align_corners=False).to(mask.dtype)


def _inverse(frame: Tensor) -> Tensor:
    """(B, 3, 3) → the inverse's (B, 2, 3); a singular one is moved a little."""
    a, b, c, d = frame[:, 0, 0], frame[:, 0, 1], frame[:, 1, 0], frame[:, 1, 1]
    area = a * d - b * c
    area = torch.where(area.abs() < MIN_AREA, MIN_AREA * torch.where(area < 0, -1.0, 1.0), area)
    inverse = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2) / area[:, None, None]
    return torch.cat([inverse, -inverse @ frame[:, :2, 2:]], dim=2)
