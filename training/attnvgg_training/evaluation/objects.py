"""Where the maps look on photos whose object is known, beside what looks at nothing.

For each picture and map: the share of the attention that lies inside the object, divided by the
object's share of the area (1 is an even look at everything), and whether the map's maximum lies
inside the object. Objects are mostly in the middle of photos, so two controls belong to every such
figure: the picture's centre in place of the maximum, and a centred Gaussian in place of the map.

Masks are brought to the map's grid by area: a cell that is half object counts half. A maximum is
inside if the middle of its cell is, in the mask at its own size.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from attnvgg_training import checkpoint
from attnvgg_training.attention import fuse
from attnvgg_training.data import normalise
from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.findings import Interval
from attnvgg_training.evaluation.masks import Masked, find, read
from attnvgg_training.evaluation.statistics import bootstrap
from attnvgg_training.network import Network

SIGMAS = (0.15, 0.2, 0.25)  # of the side
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Look:
    """One map, or a control in its place. ratio: the median over pictures of attention inside over
    area, None for a single point; pointing: the part of the pictures whose maximum is inside."""

    name: str
    ratio: Interval | None
    pointing: Interval


@dataclass(frozen=True)
class Objects:
    """pictures: how many were measured. left_out: whose object the network does not see, because
    the centre crop cuts it away. grid: the input's size."""

    pictures: int
    left_out: int
    grid: int
    looks: list[Look]


def objects(folder: Path, masks: Path, device: torch.device, batch_size: int = 256) -> Objects:
    """Measures a checkpoint's levels, their fusion and the controls.

    Raises:
        CheckpointError, DataError: something cannot be read, or the network has no maps.
    """
    model, record = checkpoint.load_model(folder)
    size = record.config.data.image_size
    everything = [read(*pair, record.config.data) for pair in find(masks)]
    seen = [each for each in everything if each.coverage(size, size).any()]
    if not seen:
        raise DataError(f"--masks {masks}: the network sees none of the objects")
    maps = _maps(model.to(device), seen, record.mean, record.std, device, batch_size)
    if not maps:
        raise DataError(f"{folder} ({record.config.model.name}) has no attention maps")
    looks = [_look(name, *scores(each, seen)) for name, each in maps.items()]
    looks += _controls(seen, size)
    return Objects(len(seen), len(everything) - len(seen), size, looks)


def scores(maps: Floats, pictures: list[Masked]) -> tuple[Floats, NDArray[np.bool_]]:
    """maps: [N, h, w], of any sum -> (share inside over share of the area [N], whether the maximum
    is inside [N])."""
    _, height, width = maps.shape
    cover = np.stack([each.coverage(height, width) for each in pictures])
    inside = (maps * cover).sum((1, 2)) / maps.sum((1, 2))
    peaks = zip(*np.divmod(maps.reshape(len(maps), -1).argmax(1), width), strict=True)
    hits = [
        each.holds((row + 0.5) / height, (column + 0.5) / width)
        for each, (row, column) in zip(pictures, peaks, strict=True)
    ]
    return inside / cover.mean((1, 2)), np.array(hits)


def gaussian(size: int, sigma: float) -> Floats:
    """A centred Gaussian on a grid, [size, size]; sigma as a part of the side."""
    position = (np.arange(size) + 0.5) / size - 0.5
    line = np.exp(-(position**2) / (2 * sigma**2))
    return np.outer(line, line)


@torch.inference_mode()
def _maps(
    model: Network,
    pictures: list[Masked],
    mean: list[float],
    std: list[float],
    device: torch.device,
    batch_size: int,
) -> dict[str, Floats]:
    """Name of the level, or `fused` -> [N, h, w]; fused where there are two levels or more."""
    parts: dict[str, list[torch.Tensor]] = {}
    images = torch.from_numpy(np.stack([each.pixels for each in pictures]))
    for batch in images.split(batch_size):
        maps = dict(model.explain(normalise(batch.to(device), mean, std)).maps)
        if len(maps) > 1:
            maps["fused"] = fuse(list(maps.values()))
        for name, each in maps.items():
            parts.setdefault(name, []).append(each.float().cpu())
    return {name: torch.cat(each).double().numpy() for name, each in parts.items()}


def _controls(pictures: list[Masked], size: int) -> list[Look]:
    """The centre, and Gaussians around it whose maximum it is."""
    centre = np.array([each.holds(0.5, 0.5) for each in pictures])
    looks = [Look("centre", None, bootstrap(centre.astype(float), "mean"))]
    for sigma in SIGMAS:
        maps = np.repeat(gaussian(size, sigma)[None], len(pictures), 0)
        looks.append(_look(f"Gaussian {sigma:g}", scores(maps, pictures)[0], centre))
    return looks


def _look(name: str, ratios: Floats, hits: NDArray[np.bool_]) -> Look:
    return Look(name, bootstrap(ratios, "median"), bootstrap(hits.astype(float), "mean"))
