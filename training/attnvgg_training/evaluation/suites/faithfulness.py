"""Does what the maps mark decide? Deletion, insertion and ROAD against random, centre and uniform.

Deletion and insertion: Petsiuk et al., "RISE", BMVC 2018. Pixels are replaced by the training set's
mean colour in the order of the map, largest first (deletion), or put back into a blurred picture
(insertion); the figure is the mean probability of the class answered over all steps, as a part of
what it was. ROAD: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution
Methods", ICML 2022: what is removed is filled in from its neighbours with a little noise, so that
the shape of the hole says little; the figure is how often the class answered stays.

The same pictures for all, those the network gets right. A map of ties (`uniform`) is ordered at
random, so that it is the control of an order that means nothing.
"""

from functools import partial
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
from attnvgg_training.evaluation.findings import Curves, Findings, Series, Table
from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.statistics import bootstrap, paired
from attnvgg_training.torchvision_shim import v2

PICTURES = 500
STEPS = 16
REMOVED = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
NOISE = 0.01
# Direct neighbours count a sixth each, diagonal ones a twelfth, as in the paper's appendix.
NEIGHBOURS = {
    **dict.fromkeys(((0, 1), (1, 0), (0, -1), (-1, 0)), 1 / 6),
    **dict.fromkeys(((1, 1), (1, -1), (-1, 1), (-1, -1)), 1 / 12),
}


def run(context: Context) -> Findings:
    """Every method that fits the main network."""
    everything = methods(context.main)
    found = {
        m.name: context.part(
            f"faithfulness/{m.name}", partial(_measure, context, m), steps=STEPS, part=REMOVED
        )
        for m in everything
    }
    rows = tuple(
        (
            name,
            bootstrap(each["deletion"]),
            bootstrap(each["insertion"]),
            100 * _mean(each["road first"]),
            100 * _mean(each["road last"]),
        )
        for name, each in found.items()
    )
    columns = (
        "map",
        "deletion (less is better)",
        "insertion (more is better)",
        "ROAD, most relevant first, % (less)",
        "ROAD, least relevant first, % (more)",
    )
    count = len(next(iter(found.values()))["deletion"])
    note = f"{count} test pictures that the network gets right; 95 % bootstrap intervals."
    shown = [m.name for m in everything if not m.name.startswith("guided grad-cam")]
    curves = tuple(
        _curves(title, {name: found[name][key] for name in shown})
        for title, key in (
            ("ROAD, most relevant first", "road first"),
            ("ROAD, least relevant first", "road last"),
        )
    )
    sentences = _sentences({n: np.array(each["deletion"]) for n, each in found.items()})
    return Findings(sentences, (Table("Faithfulness", columns, rows, note, 3),), curves)


def _mean(by_step: list[list[float]]) -> float:
    return float(np.mean(by_step))


def _curves(title: str, found: dict[str, list[list[float]]]) -> Curves:
    x = tuple(100 * part for part in REMOVED)
    series = tuple(
        Series(name, x, tuple(100 * float(np.mean(step)) for step in each))
        for name, each in found.items()
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


def _measure(context: Context, method: Method) -> dict[str, list[float] | list[list[float]]]:
    pixels, targets = right(context, PICTURES)
    found = resized(maps(method, pixels, targets, context.batch_size), *pixels.shape[-2:])
    order = ranked(found, pixels)
    mean = context.main.model.get_buffer("mean").expand_as(pixels)
    blurred = v2.functional.gaussian_blur(pixels, [11, 11], [5.0, 5.0])
    return {
        "deletion": _replaced(context, pixels, mean, targets, order),
        "insertion": _replaced(context, blurred, pixels, targets, order),
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
    context: Context, start: Tensor, end: Tensor, targets: Tensor, order: Tensor
) -> list[float]:
    """Mean over the steps of the class's probability while `start` becomes `end`, over what it is
    for the whole picture, for each picture."""
    total = order[0].numel()
    order = order.to(start.device).unsqueeze(1)
    asked = targets.cpu().unsqueeze(1)
    probabilities = []
    for step in range(STEPS + 1):
        changed = torch.where(order < round(total * step / STEPS), end, start)
        probabilities.append(chances(context.main, changed).gather(1, asked).squeeze(1))
    steps = torch.stack(probabilities)  # [steps, N]
    whole = torch.maximum(steps[0], steps[-1]).clamp_min(1e-6)
    means: list[float] = ((steps[1:] + steps[:-1]).mean(0) / 2 / whole).tolist()
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


def _sentences(deletion: dict[str, NDArray[np.float64]]) -> tuple[str, ...]:
    learned = [name for name in deletion if name.startswith("attention ")]
    if not learned:
        return ()
    best = min(learned, key=lambda name: deletion[name].mean())
    controls = ("random", "centre")
    rivals = [n for n in deletion if n not in learned and n not in (*controls, "uniform")]
    rival = min(rivals, key=lambda name: deletion[name].mean())
    said = []
    for other in (*controls, rival):
        less = paired(deletion[best], deletion[other])
        amount = f"{less.value:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
        if less.high < 0:
            verdict = "costs the answer more than"
        elif less.low > 0:
            verdict = "costs the answer less than"
        else:
            verdict = "costs the answer about as much as"
        said.append(
            f"To delete what {best} marks {verdict} to delete what {other} marks: {amount}."
        )
    return tuple(said)
