"""All levels side by side, as a matplotlib figure; imported only by Prediction.figure."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from attnvgg_client import _colors
from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._fit import fit
from attnvgg_client._overlay import Options, check, draw, place, times_uniform
from attnvgg_client._plain import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from attnvgg_client._prediction import Input, Prediction
    from attnvgg_client._tensors import Map

try:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError as error:
    raise InvalidArgumentError(
        f"figure needs matplotlib ({error}): pip install 'attnvgg-client[plot]'"
    ) from error

PANEL = 3.0
"""Inches of a panel's longer side."""
PIXELS = 640
COLUMNS = 5
TICKS = (0, 1, 4, 16, 64)
"""Times uniform attention: none, a fifth, half, four fifths of the way, and nearly all."""


class Shown(Figure):
    """A Figure that notebooks show though pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=90)
        return stream.getvalue()


def figure(
    prediction: Prediction, maps: Mapping[str, Map], picture: Image.Image, options: Options
) -> Figure:
    """See Prediction.figure."""
    check(picture, prediction.input)
    small, seen = fit(picture, prediction.input, PIXELS)
    columns = min(COLUMNS, len(maps) + 1)
    rows = math.ceil((len(maps) + 1) / columns)
    made = Shown(figsize=_inches(small, columns, rows), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False)
    for unused in axes.flat:
        unused.set_axis_off()
    first, *others = axes.flat
    _show_picture(first, small, seen, prediction)
    for panel, (level, attention) in zip(others, maps.items(), strict=False):
        panel.imshow(draw(small, attention, seen, options))
        h, w = attention.shape
        most = float(times_uniform(attention).max())
        _title(panel, f"{one_line(level)}, {h} x {w}", f"at most {most:.3g} times uniform")
    _colour_bar(made, axes, options)
    return made


def _inches(picture: Image.Image, columns: int, rows: int) -> tuple[float, float]:
    scale = PANEL / max(picture.size)
    # A column is wide enough for its title, however narrow the picture.
    width, height = max(picture.width * scale, 2.2), max(picture.height * scale, 0.6)
    return columns * width + 1.0, rows * (height + 0.5)


def _show_picture(panel: Axes, picture: Image.Image, seen: Input, prediction: Prediction) -> None:
    panel.imshow(picture)
    x0, y0, x1, y1 = (side - 0.5 for side in seen.box)  # pixels' centres are at whole numbers
    for colour, style in (("black", "-"), ("white", (0, (4, 4)))):
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linestyle=style)
        panel.add_patch(box).set_clip_on(False)
    label = textwrap.shorten(one_line(prediction.label), 50, placeholder="...")
    _title(panel, f"{label} {prediction.probability:.1%}", "dashed: what was seen")


def _title(panel: Axes, text: str, below: str) -> None:
    # A label may hold dollar signs, which are no formula.
    panel.set_title(f"{textwrap.fill(text, 32)}\n{below}", fontsize="small", parse_math=False)


def _colour_bar(made: Figure, axes: Any, options: Options) -> None:
    colours = ListedColormap(_colors.table(options.colormap) / 255)
    bar = made.colorbar(ScalarMappable(cmap=colours), ax=axes, fraction=0.04, pad=0.02)
    bar.ax.tick_params(labelsize="small")
    if options.scale == "minmax":
        bar.set_ticks([0, 1], labels=["least", "most"])
        bar.set_label("each map by itself", fontsize="small")
        return
    bar.set_ticks(place(np.array(TICKS, float)).tolist(), labels=list(map(str, TICKS)))
    bar.set_label("times uniform attention", fontsize="small")
