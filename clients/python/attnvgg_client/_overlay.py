"""An attention map over the part of the picture that the network saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from attnvgg_client import _colors
from attnvgg_client._errors import InvalidArgumentError, InvalidPictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from attnvgg_client._prediction import Input
    from attnvgg_client._tensors import Map

Scale: TypeAlias = Literal["uniform", "minmax"]
Colormap: TypeAlias = "Literal['ember', 'tide', 'grey'] | NDArray[np.uint8]"

UNIFORM_RANGE = 4.0
"""With scale="uniform" the lightest colour stands for this many times uniform attention."""


@dataclass(frozen=True)
class Options:
    """How a map is drawn; see Prediction.overlay."""

    alpha: float
    colormap: Colormap
    scale: Scale

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, int | float) and 0 <= self.alpha <= 1):
            raise InvalidArgumentError(f"alpha is {self.alpha!r}; it must be from 0 to 1")
        if self.scale not in get_args(Scale):
            names = " or ".join(map(repr, get_args(Scale)))
            raise InvalidArgumentError(f"scale is {self.scale!r}; it must be {names}")
        _colors.table(self.colormap)


def draw(picture: Image.Image, attention: Map, seen: Input, options: Options) -> Image.Image:
    """An RGB image of the picture's size; outside `seen.box` the picture is as it was.

    Args:
        picture: upright, RGB. attention: [h, w].

    Raises:
        InvalidPictureError: the picture is of another size than the prediction's.
    """
    from PIL import Image

    if picture.size != (seen.width, seen.height):
        raise InvalidPictureError(
            f"the picture is {picture.width} x {picture.height} pixels, the prediction was made "
            f"for one of {seen.width} x {seen.height}"
        )
    x0, y0, x1, y1 = (round(side) for side in seen.box)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    strength = strengths(attention, options.scale)
    colours = _paint(_enlarge(strength, x1 - x0, y1 - y0), _colors.table(options.colormap))
    drawn = picture.copy()
    part = picture.crop((x0, y0, x1, y1))
    drawn.paste(Image.blend(part, colours, options.alpha), (x0, y0))
    return drawn


def strengths(attention: Map, scale: Scale) -> Map:
    """Where in the colormap, from 0 (dark) to 1 (light), each cell [h, w] stands."""
    import numpy as np

    if scale == "uniform":
        # Cut off before it is enlarged: otherwise one very strong cell becomes a hard-edged blot.
        times_uniform: Map = attention * np.float32(attention.size)
        return (times_uniform / np.float32(UNIFORM_RANGE)).clip(0, 1)
    low, high = attention.min(), attention.max()
    if high == low:
        return np.full_like(attention, 0.5)  # nothing stands out: neither end would be true
    stretched: Map = (attention - low) / (high - low)
    return stretched


def _enlarge(strength: Map, width: int, height: int) -> Map:
    """[h, w] -> [height, width], smoothly, and within the values that were there."""
    import numpy as np
    from PIL import Image

    cells = Image.fromarray(np.ascontiguousarray(strength, dtype=np.float32))
    # Bicubic interpolation overshoots; a colour that no cell has would be an invention.
    smooth: Map = np.asarray(cells.resize((width, height), Image.Resampling.BICUBIC))
    return smooth.clip(strength.min(), strength.max())


def _paint(strength: Map, table: NDArray[np.uint8]) -> Image.Image:
    """Strengths [height, width] from 0 to 1 -> their colours."""
    import numpy as np
    from PIL import Image

    places = np.round(strength * (len(table) - 1)).astype(np.intp)
    return Image.fromarray(np.ascontiguousarray(table[places]))
