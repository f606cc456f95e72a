"""Four pictures side by side, and how much of a map lies in each of them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnvgg_bundle.preprocess import PictureError, decode, fit
from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.context import Context, as_pixels

MOSAICS = 300


@dataclass(frozen=True)
class Mosaics:
    """pixels: [N, 3, 2S, 2S]. quarter: of the picture asked about, int64 [N], 0 to 3, row by row.
    targets: its class, [N]."""

    pixels: Tensor
    quarter: Tensor
    targets: Tensor


def with_distractors(context: Context) -> Mosaics:
    """One test picture and three of --pictures localisation=FOLDER, which holds pictures of nothing
    that has a label.

    Raises:
        DataError: the folder has fewer than three pictures, or one cannot be read.
    """
    generator = torch.Generator().manual_seed(context.seed)
    chosen, paths = context.chosen(MOSAICS), context.distractors
    quarter = torch.randint(4, (len(chosen),), generator=generator)
    mosaics = []
    for index, place in zip(chosen, quarter.tolist(), strict=True):
        picks = torch.randperm(len(paths), generator=generator)[:3].tolist()
        parts = [_read(context, paths[pick]) for pick in picks]
        parts.insert(place, context.pixels(index.unsqueeze(0))[0])
        mosaics.append(tiled(parts))
    return Mosaics(torch.stack(mosaics), quarter, context.targets(chosen))


def of_four_labels(context: Context) -> Mosaics:
    """Mosaics of four different classes of the test split, which must show as many; each is there
    four times, asked about each of them."""
    generator = torch.Generator().manual_seed(context.seed + 1)
    targets = context.targets(torch.arange(len(context.test))).cpu()
    classes = [torch.nonzero(targets == k).flatten() for k in targets.unique()]
    pixels, asked = [], []
    mosaics = max(1, len(context.chosen(MOSAICS)) // 4)
    for _ in range(mosaics):
        four = torch.randperm(len(classes), generator=generator)[:4].tolist()
        picks = [
            classes[k][torch.randint(len(classes[k]), (1,), generator=generator)] for k in four
        ]
        mosaic = tiled([context.pixels(pick)[0] for pick in picks])
        pixels += [mosaic] * 4
        asked += [int(targets[pick]) for pick in picks]
    quarter = torch.arange(4).repeat(mosaics)
    return Mosaics(torch.stack(pixels), quarter, torch.tensor(asked, device=context.device))


def tiled(parts: list[Tensor]) -> Tensor:
    """Four pictures [3, S, S], row by row -> [3, 2S, 2S]."""
    return torch.cat([torch.cat(parts[:2], dim=2), torch.cat(parts[2:], dim=2)], dim=1)


def _read(context: Context, path: Path) -> Tensor:
    config, size = context.main.record.config.data, context.main.size
    try:
        fitted = fit(decode(path.read_bytes()), size, size, config.geometry, config.filter)
    except (OSError, PictureError) as error:
        raise DataError(f"{path}: {error}") from error
    return as_pixels(torch.from_numpy(fitted.pixels.copy()).unsqueeze(0))[0].to(context.device)


def by_quarter(found: Tensor) -> Tensor:
    """Sums of maps [N, h, w] over the quarters, [N, 4], row by row; cells that lie in several count
    by area."""
    height, width = found.shape[1:]
    sums = torch.einsum("ah,nhw,bw->nab", _halves(height), found, _halves(width))
    return sums.flatten(1)


def _halves(side: int) -> Tensor:
    """How much of each cell lies in the first and in the second half of a side, [2, side]."""
    first = (side / 2 - torch.arange(side)).clamp(0, 1)
    return torch.stack([first, 1 - first])
