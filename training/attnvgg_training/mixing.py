"""Mixup and cutmix: pictures and targets of a batch are mixed with those of its neighbours.

Zhang et al., "mixup" (ICLR 2018), and Yun et al., "CutMix" (ICCV 2019), by torchvision. Both draw
from the global generator, one draw a batch, and run where the pictures are.
"""

from collections.abc import Callable

from torch import Tensor

from attnvgg_training.config import TrainConfig

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixing(train: TrainConfig, classes: int) -> Mix | None:
    """None where both are off; else a function of normalised pictures [B, 3, H, W] and targets
    [B] that gives mixed pictures and probabilities [B, K]. With both on, a draw at each step
    decides between them, half and half."""
    if not (train.mixup or train.cutmix):
        return None
    from attnvgg_training.torchvision_shim import v2  # seconds of import that few runs need

    kinds = [(v2.MixUp, train.mixup), (v2.CutMix, train.cutmix)]
    chosen = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha]
    mix: Mix = chosen[0] if len(chosen) == 1 else v2.RandomChoice(chosen)
    return mix
