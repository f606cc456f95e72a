"""The network's own attention maps."""

import torch
from torch import Tensor

from attnvgg_training.evaluation.methods.method import Compute, Method
from attnvgg_training.evaluation.subject import Subject

SOURCE = "Jetley et al., Learn to Pay Attention, ICLR 2018"


def learned(subject: Subject) -> list[Method]:
    """One for each level and for their product. None of them knows the class asked about: with
    parametrised compatibility the map is made before there is a class, and with dp it follows the
    global feature, not a choice of ours."""

    def of(name: str) -> Compute:
        @torch.no_grad()
        def compute(pixels: Tensor, targets: Tensor) -> Tensor:
            return subject.model.explain(pixels).maps[name]

        return compute

    return [Method(f"attention {n}", "learned", False, SOURCE, of(n)) for n in subject.maps]
