"""The teacher of the maps: the network itself, as it was some way into the run.

A network that goes on until it knows its training pictures by heart loses the object: by then the
features of every position know of the whole picture, and a map may lie anywhere (docs/evidence.md).
So from an epoch on the maps are held near those of the averaged network of then, by the divergence
between the two; attention transfer (Zagoruyko and Komodakis, "Paying More Attention to Attention",
ICLR 2017), from oneself.
"""

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from attnvgg_training.config import TrainConfig
from attnvgg_training.network import Network


class Teacher:
    """What the maps are held near.

    after: the last epoch without it.
    module: the network of then, in evaluation mode; None before.
    """

    def __init__(self, like: nn.Module, train: TrainConfig) -> None:
        self.module: nn.Module | None = None
        self._like, self.after = like, max(1, int(train.keep_maps * train.epochs))

    def begin(self, epoch: int, model: nn.Module) -> nn.Module | None:
        """Before an epoch, from 1: the copy of the network, if its maps are kept from here on."""
        if self.module is not None or epoch <= self.after:
            return None
        self.module = _still(model)
        return self.module

    @torch.no_grad()
    def maps(self, images: Tensor) -> list[Tensor] | None:
        """Normalised images [B, 3, H, W] -> what its maps are, [B, h, w] each."""
        if self.module is None:
            return None
        return list(cast(Network, self.module).explain(images).maps.values())

    def state_dict(self) -> dict[str, Any]:
        """What resume needs."""
        return {"weights": self.module and self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what `state_dict` gave."""
        self.module = None
        if state["weights"] is not None:
            self.module = _still(self._like)
            self.module.load_state_dict(state["weights"])


def _still(model: nn.Module) -> nn.Module:
    return deepcopy(model).eval().requires_grad_(False)
