"""What every method is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Kind = Literal["learned", "afterwards", "control"]
Compute = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Method:
    """name: with the layer where it has one, such as `grad-cam conv10`. by_class: whether the map
    depends on the class asked about. source: where it is from."""

    name: str
    kind: Kind
    by_class: bool
    source: str
    compute: Compute

    def __call__(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] from 0 to 1 and the classes asked about, int64 [B] -> maps
        [B, h, w], float32, detached, from 0 up; of the method's own resolution and scale. A picture
        has the same map in whatever batch it is, up to rounding."""
        return self.compute(pixels, targets).detach().float().clamp_min(0)
