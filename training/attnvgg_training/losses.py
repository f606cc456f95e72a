"""What a step minimises: the cross-entropy of the answer, and of every level's answer by itself.

From the answer alone a level may learn little: the others answer already, and its map is left with
nothing to find. Where each has to answer from its own attended feature too, its map has to find
something that tells the classes apart (deep supervision: Lee et al., "Deeply-Supervised Nets",
2015). Nothing is added to the network; what a level says is its part of the last layer.

Label smoothing asks for answers that are less than sure, and a map that looks beside the object
gives them (docs/evidence.md). So the features learn from smoothed labels, the maps from plain ones.

Where a run keeps its maps (teacher.py), how far they have moved is part of it too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnvgg_training.config import TrainConfig
from attnvgg_training.network import Answers, Network


class Answering(nn.Module):
    """A network that gives Network.answers when it is called, as wrappers call it."""

    def __init__(self, model: Network, held: bool) -> None:
        super().__init__()
        self.model, self.held = model, held

    def forward(self, images: Tensor) -> Answers:
        """See Network.answers."""
        return self.model.answers(images, self.held)


def answering(model: Network, train: TrainConfig) -> nn.Module:
    """The network as `loss_of` wants it: itself where its logits are enough."""
    held = bool(train.label_smoothing and model.level_names)
    wanted = train.level_loss or train.keep_maps or held
    return Answering(model, held) if wanted else model


def loss_of(
    answered: Tensor | Answers,
    wanted: Tensor,
    train: TrainConfig,
    kept: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits, and the mean loss.

    Args:
        answered: logits [B, K], or what `Answering` gives. Then half of the answer's loss is of
            `held`, with twice the smoothing, which is what the features learn from on average; and
            the levels' mean loss, without any, counts `level_loss` times as much as that of the
            answer. The weights add up to 1.
        wanted: classes [B], or probabilities [B, K].
        kept: what the maps are to stay near, of every level, [B, h, w]. The mean over the levels of
            the Kullback-Leibler divergence from them comes on top.
    """
    smoothing = train.label_smoothing
    if isinstance(answered, Tensor):
        logits = answered.float()
        return logits, F.cross_entropy(logits, wanted, label_smoothing=smoothing)
    logits = answered.logits.float()
    loss = F.cross_entropy(logits, wanted)
    if answered.held is not None:
        soft = F.cross_entropy(answered.held.float(), wanted, label_smoothing=2 * smoothing)
        loss = (loss + soft) / 2
    if train.level_loss:
        levels = [F.cross_entropy(each.float(), wanted) for each in answered.levels]
        by_level = torch.stack(levels).mean()
        loss = (loss + train.level_loss * by_level) / (1 + train.level_loss)
    if kept is not None:
        moved = [divergence(*pair) for pair in zip(kept, answered.maps, strict=True)]
        loss = loss + torch.stack(moved).mean()
    return logits, loss


def divergence(kept: Tensor, maps: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of `maps` from `kept`, [B, h, w] each, in nats."""
    tiny = torch.finfo(torch.float32).tiny
    each = torch.special.xlogy(kept, kept) - kept * maps.clamp_min(tiny).log()
    mean: Tensor = each.sum((1, 2)).mean()
    return mean
