"""A network under examination, which takes pictures as they are: pixels from 0 to 1."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from attnvgg_training import checkpoint
from attnvgg_training.attention import fuse
from attnvgg_training.checkpoint import Record
from attnvgg_training.network import Explanation, Network

FUSED = "fused"


class Seeing(nn.Module):
    """Pixels in, [B, 3, H, W] from 0 to 1, and logits out, [B, K]; normalisation is inside, so that
    gradients and perturbations are in units of the picture."""

    def __init__(self, network: Network, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.network(self.normalised(pixels))
        return logits

    def explain(self, pixels: Tensor) -> Explanation:
        """The same with maps, `fused` among them where there are two levels or more, and the
        descriptor."""
        found = self.network.explain(self.normalised(pixels))
        if len(found.maps) < 2:
            return found
        return found._replace(maps={**found.maps, FUSED: fuse(list(found.maps.values()))})

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the network is given."""
        return (pixels - cast(Tensor, self.mean)) / cast(Tensor, self.std)


@dataclass(frozen=True)
class Subject:
    """name: the part it plays, such as `attention`, `control`, `baseline`; further ones trained
    alike with other seeds are called `control#2` and so on. sha256: of the weights."""

    name: str
    folder: Path
    record: Record
    model: Seeing
    sha256: str

    @property
    def role(self) -> str:
        """The name without its number."""
        return self.name.partition("#")[0]

    @property
    def network(self) -> Network:
        """As trained, in evaluation mode."""
        return self.model.network

    @property
    def size(self) -> int:
        """Side of the square input in pixels."""
        return self.record.config.data.image_size

    @property
    def maps(self) -> list[str]:
        """The names of its maps: levels, and `fused` behind two or more."""
        levels = self.network.level_names
        return [*levels, FUSED] if len(levels) > 1 else levels


def load(name: str, folder: Path, device: torch.device) -> Subject:
    """Reads a checkpoint.

    Raises:
        CheckpointError: it cannot be read.
    """
    network, record = checkpoint.load_model(folder)
    model = Seeing(network, record.mean, record.std).to(device).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    digest = sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    return Subject(name, folder, record, model, digest)
