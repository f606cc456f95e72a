"""What a step minimises: the cross-entropy of the answer, and of every level's answer by itself.

From the answer alone a level may learn little: the others answer already, and its map is left with
nothing to find. Where each has to answer from its own attended feature too, its map has to find
something that tells the classes apart (deep supervision: Lee et al., "Deeply-Supervised Nets",
2015). Nothing is added to the network; what a level says is its part of the last layer.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnvgg_training.config import TrainConfig
from attnvgg_training.network import Network


class ByLevel(nn.Module):
    """A network that gives Network.by_level when it is called, as wrappers call it."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See Network.by_level."""
        return self.model.by_level(images)


def loss_of(
    answered: Tensor | tuple[Tensor, Tensor], wanted: Tensor, train: TrainConfig
) -> tuple[Tensor, Tensor]:
    """Logits, and the mean loss.

    Args:
        answered: logits [B, K], or what `ByLevel` gives; then the levels' mean loss counts
            `level_loss` times as much as that of the answer, and the weights add up to 1.
        wanted: classes [B], or probabilities [B, K].
    """
    loss = partial(F.cross_entropy, target=wanted, label_smoothing=train.label_smoothing)
    if isinstance(answered, Tensor):
        logits = answered.float()
        return logits, loss(logits)
    logits, levels = (each.float() for each in answered)
    by_level = torch.stack([loss(each) for each in levels]).mean()
    return logits, (loss(logits) + train.level_loss * by_level) / (1 + train.level_loss)
