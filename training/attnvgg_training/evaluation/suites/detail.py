"""The network on photos of higher resolution than in training, as in the paper's figure 3, and
which parts of an object each level prefers.

Convolutions take any size: the photo is shown at four times the side of training, and the maps get
four times the cells each way. Parts: where attention lies within the object, from its edge to its
middle, and around it.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from attnvgg_bundle.preprocess import decode, fit
from attnvgg_training.evaluation.applied import resized, shares
from attnvgg_training.evaluation.context import Context, as_pixels
from attnvgg_training.evaluation.findings import Curves, Findings, Picture, Series
from attnvgg_training.evaluation.statistics import bootstrap

ENLARGED, SHOWN = 4, 6
# Distance from the object's edge over the largest within it, inside; the same length outside.
BANDS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
NAMES = ("far outside", "outside", "just outside", "just inside", "inside", "middle")


def run(context: Context) -> Findings:
    """Needs --masks. Networks without attention have nothing to show."""
    if not context.main.maps:
        return Findings(("The network has no learned maps.",))
    file = "detail.png"
    _draw(context, file)
    size = context.main.size * ENLARGED
    picture = Picture(
        "Photos at four times the resolution of training",
        file,
        f"Photos shown to the network at {size} x {size} pixels, with each level's map over them; "
        "bright is much attention, one scale for all: x times uniform at x / (x + 4).",
    )
    return Findings(_sentences(context), (), (_parts(context),), (picture,))


def bands(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Signed distance of each pixel from the object's edge, over the largest within the object:
    positive inside, up to 1; negative outside, cut at -1."""
    inside = distance_transform_edt(mask)
    outside = distance_transform_edt(~mask)
    most = max(1.0, float(inside.max()))
    signed: NDArray[np.float64] = np.clip(np.where(mask, inside, -outside) / most, -1, 1)
    return signed


def _measured(context: Context) -> dict[str, list[list[float]]]:
    """Map -> [band][photo]: attention there over what an even look would give."""
    photos = [masked for _, masked in context.photos]
    pixels = as_pixels(torch.from_numpy(np.stack([each.pixels for each in photos])))
    with torch.inference_mode():
        found = context.main.model.explain(pixels.to(context.device)).maps
    grids = [bands(each.coverage(64, 64) > 0.5) for each in photos]
    result: dict[str, list[list[float]]] = {}
    for name, each in found.items():
        fine = shares(resized(each.cpu(), 64, 64)).numpy()
        rows = [
            [_over_even(m, g, *edges) for m, g in zip(fine, grids, strict=True)]
            for edges in pairwise(BANDS)
        ]
        result[name] = [[v for v in row if v is not None] for row in rows]
    return result


def _over_even(
    found: NDArray[np.float32], grid: NDArray[np.float64], low: float, high: float
) -> float | None:
    here = (grid >= low) & (grid < high if high < 1 else grid <= high)
    return float(found[here].mean() * found.size) if here.any() else None


def _parts(context: Context) -> Curves:
    found = context.part("detail/parts", partial(_measured, context))
    series = []
    for name, rows in found.items():
        each = [bootstrap(row) for row in rows]
        series.append(
            Series(
                name,
                tuple(float(i) for i in range(len(rows))),
                tuple(e.value for e in each),
                tuple(e.low for e in each),
                tuple(e.high for e in each),
            )
        )
    even = Series("even look", (0.0, len(NAMES) - 1.0), (1.0, 1.0))
    return Curves(
        "Where each level looks, from outside of the object to its middle",
        "",
        "times an even look",
        (*series, even),
        NAMES,
        "Means over the photos with masks, 95 % bootstrap intervals; distances from the object's "
        "edge, as parts of the largest within it.",
    )


def _sentences(context: Context) -> tuple[str, ...]:
    found = context.part("detail/parts", partial(_measured, context))
    said = []
    for name, rows in found.items():
        means = [float(np.mean(row)) for row in rows]
        most = int(np.argmax(means))
        said.append(f"{name} looks most at: {NAMES[most]} ({means[most]:.1f} times an even look).")
    return tuple(said)


def _draw(context: Context, file: str) -> None:
    paths = [path for path, _ in context.photos]
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(SHOWN, len(paths))).astype(int)]
    size, config = context.main.size * ENLARGED, context.main.record.config.data
    names = context.main.maps
    figure = Figure(figsize=(1.7 * (1 + len(names)), 1.75 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), 1 + len(names), squeeze=False)
    for row, path in zip(grid, chosen, strict=True):
        pixels = fit(decode(path.read_bytes()), size, size, config.geometry, config.filter).pixels
        maps = _maps(context, pixels)
        row[0].imshow(pixels)
        for axes, name in zip(row[1:], names, strict=True):
            axes.imshow(pixels)
            axes.imshow(
                maps[name],
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
    partial = context.out / f"{file}.tmp.png"
    figure.savefig(partial, dpi=110, metadata={"Software": None})
    partial.replace(context.out / file)


@torch.inference_mode()
def _maps(context: Context, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Place on the scale of overlays, x / (x + 4) of times uniform."""
    image = as_pixels(torch.from_numpy(pixels.copy()).unsqueeze(0)).to(context.device)
    found: dict[str, Tensor] = context.main.model.explain(image).maps
    times = {name: (each / each.mean())[0].cpu() for name, each in found.items()}
    return {name: (each / (each + 4)).numpy() for name, each in times.items()}
