"""What the server says about a picture: typed, frozen, and small to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._levels import one, several
from attnvgg_client._overlay import ALPHA, COLORMAP, SCALE, Options, draw
from attnvgg_client._pictures import PictureLike, Source, load
from attnvgg_client._plain import cut, one_line, plain, width

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from attnvgg_client._overlay import Colormap, Scale
    from attnvgg_client._tensors import Map


@dataclass(frozen=True)
class Score:
    """One label with its probability; `index` is its place among the model's labels."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Model:
    """What answered. sha256: of the graph file that ran; empty where Triton runs a version that its
    repository does not describe yet. provider: what it ran on."""

    name: str
    version: str
    sha256: str
    provider: str


@dataclass(frozen=True)
class Input:
    """The picture as the server saw it: its size after EXIF orientation, and `box`
    (x0, y0, x1, y1) in its pixels, the part that the network was shown."""

    width: int
    height: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One picture's prediction.

    attention: level -> attention map, float32 [h, w], as computed: a map of softmax or sparsemax
        sums to 1 (within 1e-3 in the format f16). None if it was not asked for, empty if the
        network has no attention. Of the model's levels in its order; "fused" comes last. The
        arrays are this prediction's own: writing into them changes nothing else.
    timings_ms: decode, queue, inference, total, at an attnvgg server; round_trip with Triton.

    Two predictions are equal only if they are the same object; compare what `to_dict` gives. They
    can be copied and pickled, with what they remember of the picture: the path of a file, or the
    encoded bytes of what was no file. Who keeps many should keep `without_picture()`.
    """

    label: str
    index: int
    probability: float
    top_k: tuple[Score, ...]
    attention: dict[str, Map] | None
    model: Model
    timings_ms: Mapping[str, float]
    input: Input
    request_id: str
    _source: Source | None = field(default=None, repr=False)

    def overlay(
        self,
        level: str | None = None,
        image: PictureLike = None,
        *,
        alpha: float = ALPHA,
        colormap: Colormap = COLORMAP,
        scale: Scale = SCALE,
    ) -> Image.Image:
        """The picture with an attention map over the part that the network saw.

        Args:
            level: which map; "fused" by default, or the last level where there is no such map.
            image: the picture the prediction was made for, anything that `predict` takes except a
                URL. It may be left out: the prediction remembers files by their path, everything
                else by its bytes.
            alpha: how much the colours cover where attention is strongest, from 0 to 1. Where there
                is less they cover less, down to alpha cubed, so that the picture can be recognised.
            colormap: "ember", "tide" or "grey", dark to light, in even steps of lightness; or an
                array of your own, uint8 [n, 3].
            scale: "uniform" gives x times uniform attention the colour at x / (x + 4) of the way
                from dark to light, in every picture and level alike: merely uniform attention is a
                fifth of the way up, 4 times that half, 16 times four fifths, and nothing is cut
                off. Uniform is a map's own mean, so a map of sigmoids shows how its attention is
                spread, not how much there is. "minmax" stretches this one map to all the colours:
                it shows faint differences, and maps cannot be compared.

        Returns:
            An RGB image of the picture's size, EXIF orientation applied.

        Raises:
            InvalidArgumentError: there is no such map, or an option is out of range.
            InvalidPictureError: the picture is not the one that was asked about, or is gone.
        """
        options = Options(alpha=alpha, colormap=colormap, scale=scale)
        attention = one(self.attention, level, self.model.name)
        return draw(self._picture(image), attention, self.input, options)

    def figure(
        self,
        levels: str | Iterable[str] | None = None,
        *,
        image: PictureLike = None,
        alpha: float = ALPHA,
        colormap: Colormap = COLORMAP,
        scale: Scale = SCALE,
    ) -> Figure:
        """The picture, with the part that the network saw, beside the overlay of every level.

        Args:
            levels: which maps, in which order; all by default.
            The others are those of `overlay`.

        Returns:
            A matplotlib Figure that belongs to no window: `figure.savefig("levels.png")`.

        Raises:
            As `overlay`; InvalidArgumentError, too, if matplotlib is not installed.
        """
        from attnvgg_client import _figure  # matplotlib is slow to import, and an extra

        options = Options(alpha=alpha, colormap=colormap, scale=scale)
        maps = several(self.attention, levels, self.model.name)
        return _figure.figure(self, maps, self._picture(image), options)

    def save(
        self,
        path: str | os.PathLike[str],
        level: str | None = None,
        *,
        image: PictureLike = None,
        alpha: float = ALPHA,
        colormap: Colormap = COLORMAP,
        scale: Scale = SCALE,
    ) -> None:
        """Writes a file whose suffix says what is in it; an older one of that name is replaced.

        .png, .jpg, .jpeg, .webp: the overlay; the arguments are those of `overlay`.
        .json: what `to_dict` gives.
        .npz: `attention_LEVEL`, float32 [h, w], for every level, with `levels`, `label`, `index`,
            `probability`, `top_k_label`, `top_k_index`, `top_k_probability`, `size` (width,
            height), `box`, `model` (name, version, sha256, provider) and `request_id`;
            `numpy.load(path)` reads it without pickle.

        Raises:
            InvalidArgumentError: another suffix, no such folder, a path that is the picture's own,
                a level for a file that holds them all; or as `overlay`.
            OSError: the disk says no; a file that was there is still there.
        """
        from attnvgg_client import _files

        options = Options(alpha=alpha, colormap=colormap, scale=scale)
        _files.save(self, path, level, image, options)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the picture as plain data that `json.dumps` takes; maps as lists, what is
        no finite number as None."""
        attention = self.attention
        maps = None if attention is None else {name: plain(a) for name, a in attention.items()}
        return {
            "label": self.label,
            "index": plain(self.index),
            "probability": plain(self.probability),
            "top_k": [plain(vars(score)) for score in self.top_k],
            "attention": maps,
            "model": plain(vars(self.model)),
            "timings_ms": plain(self.timings_ms),
            "input": plain(vars(self.input)),
            "request_id": self.request_id,
        }

    def without_picture(self) -> Prediction:
        """A copy that does not hold the picture: for `overlay`, `figure` and a picture's `save` it
        must be given the image. A picture that had no file is remembered by its encoded bytes,
        half a megabyte or so for a photo; a hundred thousand of these fill a memory."""
        return replace(self, _source=None)

    def __repr__(self) -> str:
        label, model = cut(repr(self.label), 30), f"{self.model.name}/{self.model.version}"
        start = f"Prediction({label}, {self.probability:.1%}"
        end = f", model={cut(repr(model), 30)})"
        maps = {one_line(name): a.shape for name, a in (self.attention or {}).items()}
        grids = ", ".join(f"{name} {h}x{w}" for name, (h, w) in maps.items())
        for shown in (f", attention=[{grids}]", f", attention=[{', '.join(maps)}]"):
            if maps and width(start + shown + end) <= 100:
                return start + shown + end
        return cut(start + (f", {len(maps)} maps" if maps else "") + end, 100)

    def _repr_png_(self) -> bytes | None:
        from attnvgg_client import _notebook

        return _notebook.png(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from attnvgg_client import _notebook

        return _notebook.bundle(self)

    def _picture(self, image: PictureLike) -> Image.Image:
        source = self._source if image is None else load(image).source
        if source is None:
            raise InvalidArgumentError("image must be given: this prediction remembers no picture")
        return source.open()
