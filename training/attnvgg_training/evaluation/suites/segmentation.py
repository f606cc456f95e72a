"""Weakly supervised segmentation: maps made binary against the object's mask.

Protocol, ours (the paper does not give its own): pictures at the network's input size, maps scaled
from 0 to 1 over the picture and brought bilinearly to the size of the mask, a threshold, the
Jaccard index of what is above it with the mask, averaged over the photos of a folder. Otsu's
threshold is found on each map; the best fixed one is the best of 19 over all photos, chosen with
the masks in sight, and so a bound rather than a result.

The paper's table is about Object Discovery's photos. These are others: the figures cannot be
compared.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from attnvgg_training.evaluation.applied import chances, maps, resized
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Interval, Row, Table
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.statistics import bootstrap, paired

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def run(context: Context) -> Findings:
    """Every method but the uniform map, which has no threshold."""
    folders = [path.parent.name for path, _ in context.photos]
    found = {
        method.name: context.part(f"segmentation/{method.name}", partial(_scores, context, method))
        for method in methods(context.main)
        if method.name != "uniform"
    }
    best = {name: _best(each["fixed"]) for name, each in found.items()}
    columns = ("map", "Otsu", "best fixed", "its threshold", *dict.fromkeys(folders))
    rows: list[Row] = [
        (
            name,
            bootstrap(each["otsu"]),
            bootstrap(best[name][1]),
            best[name][0],
            *_by_folder(best[name][1], folders),
        )
        for name, each in found.items()
    ]
    note = (
        f"Mean Jaccard index over {len(folders)} photos, 95 % bootstrap intervals; the folders' "
        "columns are with the best fixed threshold. Not the photos of the paper's table."
    )
    sentences = _sentences({name: np.array(each["otsu"]) for name, each in found.items()})
    return Findings(sentences, (Table("Jaccard index", columns, tuple(rows), note, digits=3),))


def jaccard(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """The part of the union that is common; both of one shape."""
    return float((found & mask).sum() / max(1, (found | mask).sum()))


def _scores(context: Context, method: Method) -> dict[str, list[list[float]] | list[float]]:
    photos = [masked for _, masked in context.photos]
    pixels = as_pixels(torch.from_numpy(np.stack([each.pixels for each in photos])))
    pixels = pixels.to(context.device)
    asked = chances(context.main, pixels).argmax(1).to(context.device)
    found = maps(method, pixels, asked, context.batch_size)
    otsu, fixed = [], []
    for each, photo in zip(found, photos, strict=True):
        mask = _seen(photo)
        level = stretched(resized(each.unsqueeze(0), *mask.shape)[0].numpy())
        cut = threshold_otsu(level) if level.max() > level.min() else 0.5
        otsu.append(jaccard(level > cut, mask))
        fixed.append([jaccard(level > each, mask) for each in THRESHOLDS])
    return {"otsu": otsu, "fixed": fixed}


def stretched(found: NDArray[np.floating]) -> NDArray[np.floating]:
    """From 0 to 1; what is the same everywhere becomes 1."""
    low, high = found.min(), found.max()
    if high == low:
        return np.ones_like(found)
    spread: NDArray[np.floating] = (found - low) / (high - low)
    return spread


def _seen(photo: Masked) -> NDArray[np.bool_]:
    """The mask of the part that the network sees, in the photo's own pixels."""
    x0, y0, x1, y1 = (round(side) for side in photo.box)
    return photo.mask[y0:y1, x0:x1]


def _best(fixed: list[list[float]]) -> tuple[float, list[float]]:
    table = np.array(fixed)  # [N, thresholds]
    best = int(table.mean(0).argmax())
    return THRESHOLDS[best], table[:, best].tolist()


def _by_folder(values: list[float], folders: list[str]) -> list[float]:
    numbers, names = np.array(values), np.array(folders)
    return [float(numbers[names == name].mean()) for name in dict.fromkeys(folders)]


def _sentences(otsu: dict[str, NDArray[np.float64]]) -> tuple[str, ...]:
    learned = [name for name in otsu if name.startswith("attention ")]
    if not learned:
        return ()
    best = max(learned, key=lambda name: otsu[name].mean())
    rivals = [name for name in otsu if name not in learned]
    rival = max(rivals, key=lambda name: otsu[name].mean())
    return tuple(_compared(best, other, otsu) for other in dict.fromkeys(("centre", rival)))


def _compared(name: str, other: str, otsu: dict[str, NDArray[np.float64]]) -> str:
    more: Interval = paired(otsu[name], otsu[other])
    amount = f"{more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f})"
    if more.low > 0:
        verdict = "covers the object better than"
    elif more.high < 0:
        verdict = "covers the object worse than"
    else:
        verdict = "covers the object about as well as"
    return f"With Otsu's threshold {name} {verdict} {other}: {amount}."
