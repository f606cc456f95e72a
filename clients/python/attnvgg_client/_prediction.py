"""What the server says about a picture: typed, frozen, and small to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnvgg_client._errors import InvalidArgumentError
from attnvgg_client._pictures import PictureLike, Source, load

if TYPE_CHECKING:
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
    """What answered. sha256: of the graph file that ran. provider: what it ran on."""

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
        network has no attention. Of the model's levels in its order; "fused" comes last.
    timings_ms: decode, queue, inference, total, at the server.
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
        alpha: float = 0.5,
        colormap: Colormap = "ember",
        scale: Scale = "uniform",
    ) -> Image.Image:
        """The picture with an attention map over the part that the network saw.

        Args:
            level: which map; "fused" by default, or the last level where there is no such map.
            image: the picture the prediction was made for, anything that `predict` takes except a
                URL. It may be left out: the prediction remembers files by their path, everything
                else by its bytes.
            alpha: how much the colours cover, from 0 to 1.
            colormap: "ember", "tide" or "grey", dark to light, in even steps of lightness; or an
                array of your own, uint8 [n, 3].
            scale: "uniform" colours h * w * a, which is 1 where attention is just uniform, over the
                fixed range from 0 to 4 (more than 4 looks like 4), so that pictures can be
                compared. "minmax" stretches this one map to the whole range, so that they cannot.

        Returns:
            An RGB image of the picture's size, EXIF orientation applied.

        Raises:
            InvalidArgumentError: there is no such map, or an option is out of range.
            InvalidPictureError: the picture is not the one that was asked about, or is gone.
        """
        from attnvgg_client import _overlay

        attention = self._map(level)
        options = _overlay.Options(alpha=alpha, colormap=colormap, scale=scale)
        return _overlay.draw(self._picture(image), attention, self.input, options)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the picture as plain data that `json.dumps` takes; maps as lists."""
        attention = self.attention
        return {
            "label": self.label,
            "index": self.index,
            "probability": self.probability,
            "top_k": [vars(score).copy() for score in self.top_k],
            "attention": attention and {name: a.tolist() for name, a in attention.items()},
            "model": vars(self.model).copy(),
            "timings_ms": dict(self.timings_ms),
            "input": vars(self.input) | {"box": list(self.input.box)},
            "request_id": self.request_id,
        }

    def __repr__(self) -> str:
        maps = {} if self.attention is None else self.attention
        levels = ", ".join(f"{name} {a.shape[0]}x{a.shape[1]}" for name, a in maps.items())
        shown = f", attention=[{levels}]" if levels else ""
        model = f"{self.model.name}/{self.model.version}"
        return f"Prediction({self.label!r}, {self.probability:.1%}{shown}, model={model!r})"

    def _map(self, level: str | None) -> Map:
        if self.attention is None:
            raise InvalidArgumentError(
                "this prediction has no attention maps: ask with return_attention=True"
            )
        if not self.attention:
            raise InvalidArgumentError(f"the model {self.model.name!r} has no attention levels")
        if level is None:
            level = "fused" if "fused" in self.attention else list(self.attention)[-1]
        if level not in self.attention:
            raise InvalidArgumentError(
                f"level is {level!r}; this prediction has {', '.join(self.attention)}"
            )
        return self.attention[level]

    def _picture(self, image: PictureLike) -> Image.Image:
        source = self._source if image is None else load(image).source
        if source is None:
            raise InvalidArgumentError("image must be given: this prediction remembers no picture")
        return source.open()
