"""An attention map over the part of the picture that the network saw.

Colours stand for times uniform attention: x = a / mean(a), which is h * w * a for a map that sums
to 1. A map of sigmoids, which does not, shows how it is spread, not how much there is of it.
"""

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

ALPHA = 0.7
COLORMAP: Colormap = "ember"
SCALE: Scale = "uniform"

HALFWAY = 4.0
"""So many times uniform attention stand in the middle of the colours. Real maps go from 0.001 to 60
times: with 4, what is merely above uniform stays dark and peaks of 10 and of 40 still differ."""


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
    check(picture, seen)
    x0, y0, x1, y1 = (round(side) for side in seen.box)
    x0, y0 = min(x0, picture.width - 1), min(y0, picture.height - 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    strength = _enlarge(strengths(attention, options.scale), x1 - x0, y1 - y0)
    drawn = picture.copy()
    colours = _paint(strength, _colors.table(options.colormap))
    drawn.paste(colours, (x0, y0), _cover(strength, options.alpha))
    return drawn


def check(picture: Image.Image, seen: Input) -> None:
    """Raises InvalidPictureError if the picture cannot be the one that was asked about."""
    if picture.size != (seen.width, seen.height):
        raise InvalidPictureError(
            f"the picture is {picture.width} x {picture.height} pixels, the prediction was made "
            f"for one of {seen.width} x {seen.height}"
        )


def times_uniform(attention: Map) -> Map:
    """a / mean(a), [h, w]: 1 where attention is just uniform; 0 everywhere in a map of zeros."""
    import numpy as np

    amounts = attention.clip(0).astype(np.float64)
    relative: Map = (amounts / (amounts.mean() or 1.0)).astype(np.float32)
    return relative


def strengths(attention: Map, scale: Scale) -> Map:
    """Where in the colormap, from 0 (dark) to 1 (light), each cell [h, w] stands."""
    import numpy as np

    if scale == "uniform":
        # Compressed before it is enlarged: otherwise a strong cell becomes a hard-edged blot.
        return place(times_uniform(attention))
    low, high = attention.min(), attention.max()
    if high == low:
        return np.full_like(attention, 0.5)  # nothing stands out: neither end would be true
    stretched: Map = (attention - low) / (high - low)
    return stretched


def place(times: Map) -> Map:
    """Times uniform attention -> its place in the colormap: 0 at 0, never quite 1."""
    placed: Map = times / (times + times.dtype.type(HALFWAY))
    return placed


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

    places = np.round(strength * (len(table) - 1)).astype(np.min_scalar_type(len(table)))
    return Image.fromarray(np.ascontiguousarray(table[places]))


def _cover(strength: Map, alpha: float) -> Image.Image:
    """How much of the picture the colours cover: alpha at strength 1, alpha cubed at 0.

    Where the network did not look, the picture shows best; alpha 0 and 1 hide all or nothing.
    """
    import numpy as np

    table = 255 * float(alpha) ** (3 - 2 * np.linspace(0, 1, 256))
    return _paint(strength, np.round(table).astype(np.uint8))
