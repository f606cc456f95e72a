"""Augmentation of batches of uint8 pictures, on the device where they are.

In this order: flip, shift, zoom, cutout. What is drawn for a picture is a function of (seed, epoch,
index), see draws.py; of the four only zoom resamples, so that without it pixels keep their values.
"""

import torch
from torch import Tensor

from attnvgg_training.config import DataConfig
from attnvgg_training.data import draws
from attnvgg_training.data.zoom import reflect, zoom

CACHE_BYTES = 1 << 20


def augment(
    images: Tensor, indices: Tensor, epoch: int, config: DataConfig, seed: int, fill: Tensor
) -> Tensor:
    """Augmented copies, uint8 [B, H, W, 3], of pictures that stay as they are.

    images: uint8 [B, H, W, 3]. indices: int64 [B] on the CPU, their places in the training split.
    fill: uint8 [3], the colour of cutout's square.
    """
    if images.is_cuda:
        return _augment(images, indices, epoch, config, seed, fill)
    # Large batches go through a CPU in parts that stay in its cache: several times as fast.
    part = max(1, CACHE_BYTES // images[0].numel())
    parts = zip(images.split(part), indices.split(part), strict=True)
    return torch.cat([_augment(x, i, epoch, config, seed, fill) for x, i in parts])


def _augment(
    images: Tensor, indices: Tensor, epoch: int, config: DataConfig, seed: int, fill: Tensor
) -> Tensor:
    flips = draws.flips(indices, seed, epoch) & config.flip
    shifts = draws.shifts(indices, seed, epoch, config.shift)
    images = move(images, flips, shifts)
    if config.zoom > 1:
        images = _zoom_some(images, *draws.zooms(indices, seed, epoch, config.zoom))
    if config.cutout:
        centres = draws.centres(indices, seed, epoch, images.shape[1])
        images = cut_out(images, centres, config.cutout, fill)
    return images


def move(images: Tensor, flips: Tensor, shifts: Tensor) -> Tensor:
    """Moves each picture by its shift, the border reflected, and then mirrors some.

    images: uint8 [B, H, W, 3]. flips: bool [B]. shifts: int64 [B, 2], rows and columns, each less
    than the side. The pixel at (row, column) comes from (row, column) + shift.
    """
    batch, height, width, channels = images.shape
    # A row continued by its mirror images holds every shift of it, and of its mirror image, as
    # bytes in sequence: copying those is six times as fast as looking up each pixel.
    mirrored = images.flip(2)
    strips = torch.cat([mirrored[:, :, :-1], images, mirrored[:, :, 1:]], 2)
    rows = reflect(torch.arange(height) + shifts[:, :1], height)  # [B, H]
    columns = torch.where(flips, -shifts[:, 1], width - 1 + shifts[:, 1]) % (2 * (width - 1))
    starts = (torch.arange(batch)[:, None] * height + rows) * strips.shape[2] + columns[:, None]
    row = width * channels
    # Overlapping views of `row` bytes, one from each byte on.
    windows = strips.view(-1).as_strided((strips.numel() - row + 1, row), (1, 1))
    starts = (channels * starts).view(-1).to(images.device, non_blocking=True)
    return windows.index_select(0, starts).view_as(images)


def cut_out(images: Tensor, centres: Tensor, side: int, fill: Tensor) -> Tensor:
    """Paints squares over the pictures, in place; beyond the border they are cut off.

    centres: int64 [B, 2], rows and columns inside the pictures.
    """
    _, height, width, _ = images.shape
    around = torch.arange(side) - side // 2
    # Pixels beyond the border are drawn in to it, where the square is anyway.
    rows = (centres[:, :1] + around).clamp(0, height - 1).to(images.device, non_blocking=True)
    columns = (centres[:, 1:] + around).clamp(0, width - 1).to(images.device, non_blocking=True)
    pictures = torch.arange(len(images), device=images.device)
    images[pictures[:, None, None], rows[:, :, None], columns[:, None, :]] = fill.to(images.device)
    return images


def _zoom_some(images: Tensor, factors: Tensor, moves: Tensor) -> Tensor:
    """Zooms where the factor is not 1; the others are copied."""
    some = (factors != 1).nonzero()[:, 0]
    if len(some) == 0:
        return images
    source = torch.arange(len(images))
    source[some] = len(images) + torch.arange(len(some))
    source, chosen = (each.to(images.device, non_blocking=True) for each in (source, some))
    zoomed = zoom(images.index_select(0, chosen), factors[some], moves[some])
    return torch.cat([images, zoomed]).index_select(0, source)
