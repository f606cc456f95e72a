"""Perceptually uniform colours, computed rather than copied.

A colormap is a path through OKLab (B. Ottosson, 2020): lightness rises in equal steps from dark to
light, hue and chroma follow a few anchors, and what sRGB cannot show loses chroma, never lightness.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from attnvgg_client._errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DARK, LIGHT = 0.20, 0.96
ANCHORS: dict[str, tuple[tuple[float, float], ...]] = {  # (hue in degrees, chroma), dark to light
    "ember": ((285, 0.06), (305, 0.16), (350, 0.20), (395, 0.20), (430, 0.16), (465, 0.10)),
    "tide": ((290, 0.08), (265, 0.12), (225, 0.09), (180, 0.10), (150, 0.12), (110, 0.13)),
    "grey": ((0, 0.0), (0, 0.0)),
}

OKLAB_TO_LMS = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
LMS_TO_LINEAR_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def table(colormap: str | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A colormap's colours, uint8 [n, 3].

    Raises:
        InvalidArgumentError: no such name, or an array that is no table of colours.
    """
    if isinstance(colormap, str):
        if colormap in ANCHORS:
            return _computed(colormap)
    elif _is_table(colormap):
        return colormap
    names = ", ".join(map(repr, ANCHORS))
    raise InvalidArgumentError(
        f"colormap is {colormap!r}; it must be one of {names}, or a uint8 array [n, 3]"
    )


def _is_table(colormap: Any) -> bool:
    shape: tuple[int, ...] = getattr(colormap, "shape", ())
    return len(shape) == 2 and shape[0] > 1 and shape[1] == 3 and str(colormap.dtype) == "uint8"


@cache
def _computed(name: str, steps: int = 256) -> NDArray[np.uint8]:
    """[steps, 3], uint8."""
    import numpy as np

    lightness = np.linspace(DARK, LIGHT, steps)
    hue, chroma = _smooth(np.array(ANCHORS[name]).T, steps)
    reachable = np.stack([chroma * keep for keep in np.linspace(0, 1, 65)])
    colours = _linear_rgb(lightness, reachable, np.radians(hue))
    inside = ((colours >= 0) & (colours <= 1)).all(axis=-1)
    last = np.maximum.accumulate(inside * np.arange(65)[:, None], axis=0)[-1]
    chosen = np.clip(colours[last, np.arange(steps)], 0, 1)
    return np.round(255 * _gamma(chosen)).astype(np.uint8)


def _smooth(anchors: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Anchors [2, n] -> [2, steps]: joined by lines, then averaged so that no corner shows."""
    import numpy as np

    places, wide = np.linspace(0, 1, anchors.shape[1]), steps // 4
    at = np.linspace(-0.125, 1.125, steps + wide)
    lines = np.stack([np.interp(at, places, row) for row in anchors])
    kernel = np.hanning(wide + 3)[1:-1]
    kernel /= kernel.sum()
    return np.stack([np.convolve(row, kernel, mode="valid") for row in lines])


def _linear_rgb(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.float64]:
    """OKLCh [..., n] -> linear sRGB [..., n, 3], not clipped."""
    import numpy as np

    lightness, hue = np.broadcast_to(lightness, chroma.shape), np.broadcast_to(hue, chroma.shape)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    lms: NDArray[np.float64] = (lab @ np.array(OKLAB_TO_LMS).T) ** 3
    rgb: NDArray[np.float64] = lms @ np.array(LMS_TO_LINEAR_RGB).T
    return rgb


def _gamma(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
