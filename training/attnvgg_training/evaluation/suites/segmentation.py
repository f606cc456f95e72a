"""Weakly supervised segmentation: maps made binary against the object's mask.

Protocol, ours (the paper does not give its own): pictures at the network's input size, maps scaled
from 0 to 1 over the picture and brought bilinearly to the size of the mask, a threshold, the
Jaccard index of what is above it with the mask, averaged over the photos of a folder. Otsu's
threshold is found on each map; the best fixed one is the best of 19 over all photos, chosen with
the masks in sight, and so a bound rather than a result. Methods that ask about a class ask about
the one answered.

The paper's table is about Object Discovery's photos. These are others: the figures cannot be
compared.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from attnvgg_training.evaluation.applied import chances, looking, maps, resized
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Row, Table
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.methods import Method
from attnvgg_training.evaluation.statistics import bootstrap, paired, told
from attnvgg_training.evaluation.subject import Subject

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
EVERYTHING = "everything"


def run(context: Context) -> Findings:
    """Every method but the uniform map, which has no threshold; instead of it, the mask of all
    pixels."""
    looks = [each for each in looking(context) if each[1].name != "uniform"]
    found = {
        method.name: context.part(
            f"segmentation/{method.name}",
            partial(_scores, context, subject, method),
            uses=(context.main, subject),
        )
        for subject, method in looks
    }
    folders = [path.parent.name for path, _ in context.photos]
    everything = np.array([_seen(photo).mean() for _, photo in context.photos])
    otsu = {name: np.array(each["otsu"]) for name, each in found.items()}
    best = {name: _best(each["fixed"]) for name, each in found.items()}
    rows: list[Row] = [
        (
            name,
            bootstrap(otsu[name]),
            bootstrap(best[name][1]),
            best[name][0],
            *_by_folder(otsu[name], folders),
        )
        for name in found
    ]
    share = bootstrap(everything)
    rows.append((EVERYTHING, share, share, None, *_by_folder(everything, folders)))
    columns = ("map", "Otsu", "best fixed (a bound)", "its threshold", *dict.fromkeys(folders))
    note = (
        f"Mean Jaccard index over {len(folders)} photos, 95 % bootstrap intervals; the folders' "
        "columns are with Otsu's threshold. The best fixed threshold was chosen with the masks in "
        "sight: a bound rather than a result. Methods that ask about a class ask about the one "
        f"ANSWERED, by their own network. {EVERYTHING}: the mask of all pixels, whose index is the "
        "object's share of the area. Not the photos of the paper's table."
    )
    learned = [method.name for _, method in looks if method.kind == "learned"]
    later = [method.name for _, method in looks if method.kind == "afterwards"]
    sentences = _sentences({**otsu, EVERYTHING: everything}, learned, later)
    return Findings(sentences, (Table("Jaccard index", columns, tuple(rows), note, digits=3),))


def jaccard(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """The part of the union that is common; both of one shape."""
    return float((found & mask).sum() / max(1, (found | mask).sum()))


def _scores(
    context: Context, subject: Subject, method: Method
) -> dict[str, list[list[float]] | list[float]]:
    """Of each photo, the index with Otsu's threshold, and with each of the fixed ones."""
    photos = [masked for _, masked in context.photos]
    pixels = as_pixels(torch.from_numpy(np.stack([each.pixels for each in photos])))
    pixels = pixels.to(context.device)
    asked = chances(subject, pixels, context.batch_size).argmax(1).to(context.device)
    found = maps(method, pixels, asked, context.batch_size)
    otsu, fixed = [], []
    for each, photo in zip(found, photos, strict=True):
        mask = _seen(photo)
        level = stretched(resized(each.unsqueeze(0), *mask.shape)[0].numpy())
        cut = threshold_otsu(level) if level.max() > level.min() else 0.5
        otsu.append(jaccard(level > cut, mask))
        fixed.append([jaccard(level > threshold, mask) for threshold in THRESHOLDS])
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


def _by_folder(values: NDArray[np.float64], folders: list[str]) -> list[float]:
    names = np.array(folders)
    return [float(values[names == name].mean()) for name in dict.fromkeys(folders)]


def _sentences(
    otsu: dict[str, NDArray[np.float64]], learned: list[str], later: list[str]
) -> tuple[str, ...]:
    """The best learned map against the controls and the best method applied afterwards."""
    if not learned:
        return ()
    best, rival = (max(names, key=lambda name: otsu[name].mean()) for names in (learned, later))
    mine = f"the best of {len(learned)} learned maps ({best})"
    others = {
        "centre": "the centre",
        EVERYTHING: "the mask of all pixels",
        rival: f"the best of {len(later)} methods applied afterwards ({rival})",
    }
    return tuple(_compared(mine, said, otsu[best], otsu[n]) for n, said in others.items())


def _compared(name: str, other: str, mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> str:
    more = paired(mine, theirs)
    verdict = told(
        more,
        "covers the object worse than",
        "covers the object better than",
        "covers the object about as well as",
    )
    amount = f"{more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f})"
    return f"With Otsu's threshold {name} {verdict} {other}: {amount}."
