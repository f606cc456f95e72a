"""A picture at a size at which it can be looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from attnvgg_client._prediction import Input


def fit(picture: Image.Image, seen: Input, longest: int) -> tuple[Image.Image, Input]:
    """The picture with its longer side at most `longest` pixels, and its box at that scale.

    A small one is enlarged as often as it goes in, its pixels left as squares: that they are few is
    what the network had to work with, and the map above them is smooth all the same.
    """
    from PIL import Image

    most = max(picture.size)
    scale = longest / most if most > longest else longest // most
    width, height = (max(1, round(side * scale)) for side in picture.size)
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    shown = picture.resize((width, height), how, reducing_gap=2.0)
    across, down = width / picture.width, height / picture.height
    x0, y0, x1, y1 = seen.box
    box = (x0 * across, y0 * down, x1 * across, y1 * down)
    return shown, replace(seen, width=width, height=height, box=box)
