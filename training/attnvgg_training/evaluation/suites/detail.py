"""The network on photos of higher resolution than in training, as in the paper's figure 3, and
which parts of an object each level prefers.

Convolutions take any size: the photo is shown at four times the side of training, and the maps get
four times the cells each way. Parts: where attention lies within the object, from its edge to its
middle, and around it; beside the controls `centre`, a centred Gaussian, and `random`. The object is
what covers more than half of a cell of 64 x 64; photos in which that is no cell or every cell have
no parts and are left out.
"""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from attnvgg_bundle.preprocess import decode, fit
from attnvgg_training.evaluation.applied import maps, resized, shares
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Picture, Series
from attnvgg_training.evaluation.methods import Method, controls, learned
from attnvgg_training.evaluation.statistics import bootstrap, told

ENLARGED, SHOWN, GRID = 4, 6, 64
# Distance from the object's edge over the largest within it, inside; the same length outside.
BANDS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
NAMES = ("far outside", "outside", "just outside", "just inside", "inside", "middle")


def run(context: Context) -> Findings:
    """Needs --masks. Networks without attention have nothing to show."""
    if not context.main.maps:
        return Findings(("The network has no learned maps.",))
    grids = _grids(context)
    curves, sentences = _parts(context, grids)
    file = "detail.png"
    _draw(context, file)
    size = context.main.size * ENLARGED
    picture = Picture(
        "Photos at four times the resolution of training",
        file,
        f"Photos shown to the network at {size} x {size} pixels, with each level's map over them; "
        "bright is much attention, one scale for all: x times uniform at x / (x + 4).",
    )
    return Findings(sentences, (), curves, (picture,))


def bands(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Signed distance of each pixel from the object's edge, over the largest within the object:
    positive inside, up to 1; negative outside, cut at -1."""
    inside = distance_transform_edt(mask)
    outside = distance_transform_edt(~mask)
    most = max(1.0, float(inside.max()))
    signed: NDArray[np.float64] = np.clip(np.where(mask, inside, -outside) / most, -1, 1)
    return signed


def _grids(context: Context) -> dict[int, NDArray[np.float64]]:
    """Number of the photo -> its bands on a grid of 64 x 64; without photos that have no parts."""
    masks = [photo.coverage(GRID, GRID) > 0.5 for _, photo in context.photos]
    return {i: bands(mask) for i, mask in enumerate(masks) if mask.any() and not mask.all()}


def _measured(
    context: Context, method: Method, grids: dict[int, NDArray[np.float64]]
) -> list[list[float]]:
    """[band][photo]: attention there over what an even look would give; NaN where there is no such
    band."""
    pixels = as_pixels(torch.from_numpy(np.stack([context.photos[i][1].pixels for i in grids])))
    asked = torch.zeros(len(pixels), dtype=torch.int64, device=context.device)  # of no effect
    found = maps(method, pixels.to(context.device), asked, context.batch_size)
    fine = shares(resized(found, GRID, GRID)).numpy()
    return [
        [_over_even(m, grid, *edges) for m, grid in zip(fine, grids.values(), strict=True)]
        for edges in pairwise(BANDS)
    ]


def _over_even(
    found: NDArray[np.float32], grid: NDArray[np.float64], low: float, high: float
) -> float:
    here = (grid >= low) & (grid < high if high < 1 else grid <= high)
    return float(found[here].mean() * found.size) if here.any() else math.nan


def _parts(
    context: Context, grids: dict[int, NDArray[np.float64]]
) -> tuple[tuple[Curves, ...], tuple[str, ...]]:
    """The diagram, and what follows from it."""
    left_out = len(context.photos) - len(grids)
    if not grids:
        return (), (f"The objects of all {left_out} photos are too small or fill the photo.",)
    looks = [*learned(context.main), *(m for m in controls() if m.name != "uniform")]
    found = {
        method.name: np.array(
            context.part(f"detail/{method.name}", partial(_measured, context, method, grids)),
            dtype=float,
        )
        for method in looks
    }
    even = Series("even look", (0.0, len(NAMES) - 1.0), (1.0, 1.0))
    note = (
        f"Means over {len(grids)} photos with masks, 95 % bootstrap intervals; distances from the "
        "object's edge, as parts of the largest within it."
    )
    if left_out:
        note += f" {left_out} photos are left out: their object is too small, or fills the photo."
    curves = Curves(
        "Where each level looks, from outside of the object to its middle",
        "",
        "times an even look",
        (*(_series(name, rows) for name, rows in found.items()), even),
        NAMES,
        note,
    )
    names = [method.name for method in looks if method.kind == "learned"]
    said = [s for n in names for s in (_most(n, found[n]), _beside(n, found[n], found["centre"]))]
    return (curves,), tuple(said)


def _series(name: str, rows: NDArray[np.float64]) -> Series:
    """rows: [bands, photos], NaN where a photo has no such band."""
    return Series.of(name, range(len(rows)), [_interval(row) for row in rows])


def _interval(values: NDArray[np.float64]) -> Interval:
    """The mean of those that there are; NaN where there are none."""
    there = values[~np.isnan(values)]
    return bootstrap(there) if len(there) else Interval(math.nan, math.nan, math.nan)


def _most(name: str, rows: NDArray[np.float64]) -> str:
    """The band with most attention, and those that cannot be told apart from it on the photos that
    have both; rows: [bands, photos]."""
    means = [_interval(row).value for row in rows]
    there = [band for band, mean in enumerate(means) if not math.isnan(mean)]
    best, *order = sorted(there, key=lambda band: -means[band])
    alike = [b for b in order if not _interval(rows[best] - rows[b]).low > 0]
    most = f"{name} looks most at: {NAMES[best]} ({means[best]:.1f} times an even look)"
    if not alike:
        return f"{most}."
    others = ", ".join(f"{NAMES[b]} ({means[b]:.1f})" for b in alike)
    return f"{most}, which cannot be told apart from: {others}."


def _beside(name: str, rows: NDArray[np.float64], centre: NDArray[np.float64]) -> str:
    """Band by band against a look at the picture's centre; both [bands, photos]."""
    found: dict[str, list[str]] = {"more at": [], "less at": [], "no difference to be told at": []}
    for band, mine, theirs in zip(NAMES, rows, centre, strict=True):
        more = _interval(mine - theirs)
        if not math.isnan(more.value):
            found[told(more, "less at", "more at", "no difference to be told at")].append(band)
    parts = [f"{how} {', '.join(which)}" for how, which in found.items() if which]
    return f"Beside a look at the centre, {name} looks: {'; '.join(parts)}."


def _draw(context: Context, file: str) -> None:
    paths = [path for path, _ in context.photos]
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(SHOWN, len(paths))).astype(int)]
    size, config = context.main.size * ENLARGED, context.main.record.config.data
    names = context.main.maps
    figure = Figure(figsize=(1.7 * (1 + len(names)), 1.75 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), 1 + len(names), squeeze=False)
    for row, path in zip(grid, chosen, strict=True):
        pixels = fit(decode(path.read_bytes()), size, size, config.geometry, config.filter).pixels
        found = _maps(context, pixels)
        row[0].imshow(pixels)
        for axes, name in zip(row[1:], names, strict=True):
            axes.imshow(pixels)
            axes.imshow(
                found[name],
                cmap="inferno",
                alpha=0.65,
                vmin=0,
                vmax=1,
                extent=(0, size, size, 0),
                interpolation="bicubic",
            )
    for axes, title in zip(grid[0], ["photo", *names], strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.set_axis_off()
    unfinished = context.out / f"{file}.tmp.png"
    figure.savefig(unfinished, dpi=110, metadata={"Software": None})
    unfinished.replace(context.out / file)


@torch.inference_mode()
def _maps(context: Context, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Place on the scale of overlays, x / (x + 4) of times uniform."""
    image = as_pixels(torch.from_numpy(pixels.copy()).unsqueeze(0)).to(context.device)
    found: dict[str, Tensor] = context.main.model.explain(image).maps
    times = {name: (each / each.mean())[0].cpu() for name, each in found.items()}
    return {name: (each / (each + 4)).numpy() for name, each in times.items()}
