"""The position of an attention map in the image, if spatial transformers have resampled the features.

Positions are in −1 … 1 from the first to the last edge. A frame (B, 3, 3) maps a position in the features to a position
in the image, in homogeneous coordinates. None stands for the identity.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_AREA = 1e-6
"""Smallest area of a window as a share of the image; a transformer with a smaller one is treated as if it had this."""


def compose_frame(frame: Tensor | None, warp: Tensor | None) -> Tensor | None:
    """Return the frame of features after resampling by `warp` (B, 2, 3), from the frame before it."""
    if warp is None:
        return frame
    warp = warp.float()
    bottom = torch.eye(3, device=warp.device)[2:].expand(len(warp), 1, 3)
    inner = torch.cat([warp, bottom], dim=1)
    return inner if frame is None else frame @ inner


def warp_to_image(mask: Tensor, frame: Tensor | None) -> Tensor:
    """Return a map (B, 1, H, W) of features with the frame `frame` as it lies in the image, of the same size.

    It is 0 where the features do not reach.
    """
    if frame is None or not len(mask):
        return mask
    grid = F.affine_grid(_inverse(frame), list(mask.shape), align_corners=False)
    return F.grid_sample(mask.float(), grid.to(torch.float32), align_corners=False).to(mask.dtype)


def _inverse(frame: Tensor) -> Tensor:
    """Return the first two rows (B, 2, 3) of the inverse of frames (B, 3, 3). A singular frame is changed slightly."""
    a, b, c, d = frame[:, 0, 0], frame[:, 0, 1], frame[:, 1, 0], frame[:, 1, 1]
    area = a * d - b * c
    area = torch.where(area.abs() < MIN_AREA, MIN_AREA * torch.where(area < 0, -1.0, 1.0), area)
    inverse = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2) / area[:, None, None]
    return torch.cat([inverse, -inverse @ frame[:, :2, 2:]], dim=2)
