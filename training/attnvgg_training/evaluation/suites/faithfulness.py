"""Does what the maps mark decide? Deletion, insertion and ROAD against random, centre and uniform.

Deletion and insertion: Petsiuk et al., "RISE", BMVC 2018. Pixels are replaced by the training set's
mean colour in the order of the map, largest first (deletion), or put back into a blurred picture
(insertion); the figure is the mean probability of the class answered over all steps, as a part of
what it is for the whole picture. ROAD: Rong et al., "A Consistent and Efficient Evaluation Strategy
for Attribution Methods", ICML 2022: what is removed is filled in from its neighbours with a little
noise, so that the shape of the hole says little; the figure is how often the class answered stays.

The same pictures for all, those the network gets right. A map of ties (`uniform`) is ordered at
random, so that it is the control of an order that means nothing.
"""

from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.applied import chances, maps, resized
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Series, Table
from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.statistics import bootstrap, paired, told
from attnvgg_training.torchvision_shim import v2

PICTURES = 500
STEPS = 16
REMOVED = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
NOISE = 0.01
# Measure -> what it is called, and whether more of it (1) or less (-1) is better.
ORDER = {
    "deletion": ("Deletion", -1),
    "insertion": ("Insertion", 1),
    "road first": ("ROAD, most relevant first", -1),
    "road last": ("ROAD, least relevant first", 1),
}
Measured = dict[str, Any]  # deletion, insertion: [N]; road first, road last: [part removed][N]
# Direct neighbours count a sixth each, diagonal ones a twelfth, as in the paper's appendix.
NEIGHBOURS = {
    **dict.fromkeys(((0, 1), (1, 0), (0, -1), (-1, 0)), 1 / 6),
    **dict.fromkeys(((1, 1), (1, -1), (-1, 1), (-1, -1)), 1 / 12),
}


def run(context: Context) -> Findings:
    """Every method that fits the main network."""
    everything = methods(context.main)
    found: dict[str, Measured] = {
        m.name: context.part(
            f"faithfulness/{m.name}",
            partial(_measure, context, m),
            steps=STEPS,
            removed=REMOVED,
            most=PICTURES,
        )
        for m in everything
    }
    means = {name: per_picture(each) for name, each in found.items()}
    rows = tuple(
        (
            name,
            bootstrap(each["deletion"]),
            bootstrap(each["insertion"]),
            bootstrap(100 * each["road first"]),
            bootstrap(100 * each["road last"]),
        )
        for name, each in means.items()
    )
    columns = (
        "map",
        "deletion (less is better)",
        "insertion (more is better)",
        "ROAD, most relevant first, % (less)",
        "ROAD, least relevant first, % (more)",
    )
    count = len(next(iter(means.values()))["deletion"])
    note = (
        f"{count} test pictures that the network gets right; 95 % bootstrap intervals; ROAD is the "
        f"mean over {', '.join(f'{100 * part:.0f}' for part in REMOVED)} % of the pixels."
    )
    shown = [m.name for m in everything if not m.name.startswith("guided grad-cam")]
    curves = tuple(
        _curves(title, {name: found[name][key] for name in shown})
        for title, key in (
            ("ROAD, most relevant first", "road first"),
            ("ROAD, least relevant first", "road last"),
        )
    )
    learned = [m.name for m in everything if m.kind == "learned"]
    later = [m.name for m in everything if m.kind == "afterwards"]
    sentences = [
        said
        for key in ORDER
        for said in verdicts(key, {n: e[key] for n, e in means.items()}, learned, later)
    ]
    return Findings(tuple(sentences), (Table("Faithfulness", columns, rows, note, 3),), curves)


def per_picture(found: Measured) -> dict[str, NDArray[np.float64]]:
    """Deletion, insertion and the means of ROAD over the parts removed, [N] each."""
    return {
        "deletion": np.array(found["deletion"], dtype=float),
        "insertion": np.array(found["insertion"], dtype=float),
        "road first": np.array(found["road first"], dtype=float).mean(0),
        "road last": np.array(found["road last"], dtype=float).mean(0),
    }


def _curves(title: str, found: dict[str, Any]) -> Curves:
    x = [100 * part for part in REMOVED]
    series = tuple(
        Series.of(name, x, [bootstrap(100 * np.array(step, dtype=float)) for step in steps])
        for name, steps in found.items()
    )
    return Curves(title, "pixels filled in, %", "same answer, %", series)


def right(context: Context, most: int) -> tuple[Tensor, Tensor]:
    """Pixels and classes of the chosen test pictures that the main network gets right.

    Raises:
        DataError: there are none.
    """
    indices = context.chosen(most)
    pixels, targets = context.pixels(indices), context.targets(indices)
    kept = chances(context.main, pixels).argmax(1).to(targets.device) == targets
    if not kept.any():
        raise DataError(
            f"the network gets none of the {len(indices)} test pictures chosen right; faithfulness "
            "is measured on those that it does: take more (--limit), or a trained network"
        )
    return pixels[kept], targets[kept]


def _measure(context: Context, method: Method) -> Measured:
    pixels, targets = right(context, PICTURES)
    found = resized(maps(method, pixels, targets, context.batch_size), *pixels.shape[-2:])
    order = ranked(found, pixels)
    mean = context.main.model.get_buffer("mean").expand_as(pixels)
    blurred = v2.functional.gaussian_blur(pixels, [11, 11], [5.0, 5.0])
    return {
        "deletion": _replaced(context, pixels, mean, targets, order, 0),
        "insertion": _replaced(context, blurred, pixels, targets, order, -1),
        "road first": _road(context, pixels, targets, order, first=True),
        "road last": _road(context, pixels, targets, order, first=False),
    }


def ranked(found: Tensor, pixels: Tensor) -> Tensor:
    """Place of each pixel in the order of its map, largest first: int64 [N, H, W], from 0. Ties are
    broken at random, by a function of the picture alone."""
    places = []
    for each, picture in zip(found, pixels, strict=True):
        seed = crc32((255 * picture).round().byte().cpu().contiguous().numpy().tobytes())
        noise = np.random.default_rng(seed).random(each.numel())
        by = np.lexsort((noise, -each.flatten().numpy()))
        place = np.empty_like(by)
        place[by] = np.arange(len(by))
        places.append(torch.from_numpy(place).view_as(each))
    return torch.stack(places)


def _replaced(
    context: Context, start: Tensor, end: Tensor, targets: Tensor, order: Tensor, intact: int
) -> list[float]:
    """Mean over the steps of the class's probability while `start` becomes `end`, over what it is
    for the whole picture, which is the first step (intact 0) or the last (-1); for each picture."""
    total = order[0].numel()
    order = order.to(start.device).unsqueeze(1)
    asked = targets.cpu().unsqueeze(1)
    probabilities = []
    for step in range(STEPS + 1):
        changed = torch.where(order < round(total * step / STEPS), end, start)
        probabilities.append(chances(context.main, changed).gather(1, asked).squeeze(1))
    steps = torch.stack(probabilities)  # [steps, N]
    means: list[float] = ((steps[1:] + steps[:-1]).mean(0) / 2 / steps[intact]).tolist()
    return means


def _road(
    context: Context, pixels: Tensor, targets: Tensor, order: Tensor, first: bool
) -> list[list[float]]:
    """Whether the answer stays, [steps][N] of 0 and 1."""
    total = order[0].numel()
    kept = []
    for part in REMOVED:
        count = round(part * total)
        holes = order < count if first else order >= total - count
        filled = torch.stack(
            [imputed(picture, hole) for picture, hole in zip(pixels.cpu(), holes, strict=True)]
        )
        answer = chances(context.main, filled.to(context.device)).argmax(1)
        kept.append((answer == targets.cpu()).float().tolist())
    return kept


def imputed(picture: Tensor, hole: Tensor) -> Tensor:
    """Noisy linear imputation: every pixel of the hole is the weighted mean of its neighbours, in
    the hole or not, with noise of 0.01 of full scale.

    picture: [3, H, W]. hole: bool [H, W].
    """
    missing = np.argwhere(hole.numpy())
    if not len(missing):
        return picture
    values = picture.numpy().astype(np.float64)
    matrix, right_side = _equations(values, hole.numpy(), missing)
    solved = spsolve(matrix.tocsc(), right_side).reshape(len(missing), 3)
    noise = np.random.default_rng(len(missing)).normal(0, NOISE, solved.shape)
    filled = values.copy()
    filled[:, missing[:, 0], missing[:, 1]] = (solved + noise).T
    return torch.from_numpy(filled.clip(0, 1).astype(np.float32))


def _equations(
    values: NDArray[np.float64], hole: NDArray[np.bool_], missing: NDArray[np.int64]
) -> tuple[coo_matrix, NDArray[np.float64]]:
    """One row a missing pixel: the weights of its neighbours within the picture, times it, less
    those that are missing, is the sum of those that are known."""
    height, width = hole.shape
    number = np.full(hole.shape, -1)
    number[tuple(missing.T)] = np.arange(len(missing))
    diagonal, known = np.zeros(len(missing)), np.zeros((len(missing), 3))
    rows, columns, weights = [], [], []
    for (down, across), weight in NEIGHBOURS.items():
        y, x = missing[:, 0] + down, missing[:, 1] + across
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        mine, y, x = np.flatnonzero(inside), y[inside], x[inside]
        diagonal[mine] += weight
        lost = hole[y, x]
        known[mine[~lost]] += weight * values[:, y[~lost], x[~lost]].T
        rows.append(mine[lost])
        columns.append(number[y[lost], x[lost]])
        weights.append(np.full(int(lost.sum()), -weight))
    everyone = np.arange(len(missing))
    if hole.all():  # nothing is known: any constant would do; the mean colour it is
        diagonal += 1
        known += values.mean((1, 2))
    data = np.concatenate([diagonal, *weights])
    places = (np.concatenate([everyone, *rows]), np.concatenate([everyone, *columns]))
    return coo_matrix((data, places), shape=(len(missing),) * 2), known


def verdicts(
    key: str, found: dict[str, NDArray[np.float64]], learned: list[str], later: list[str]
) -> list[str]:
    """The best learned map under one measure against what looks at nothing and against the best
    method applied afterwards; on the same pictures."""
    if not learned:
        return []
    title, sign = ORDER[key]
    best, rival = (max(names, key=lambda n: sign * found[n].mean()) for names in (learned, later))
    said = []
    for other in ("random", "uniform", "centre", rival):
        more = paired(sign * found[best], sign * found[other])
        verdict = told(more, "worse than", "better than", "no better or worse than")
        amount = f"{sign * more.value:+.3f} ({_bounds(more, sign)})"
        said.append(f"{title}: {best}, the best learned map, is {verdict} {other}: {amount}.")
    return said


def _bounds(difference: Interval, sign: int) -> str:
    low, high = sorted((sign * difference.low, sign * difference.high))
    return f"{low:+.3f} to {high:+.3f}"
