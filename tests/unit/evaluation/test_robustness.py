"""Attacks, within epsilon."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    robustness,
)

Make = Callable[..., Subject]


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
def test_attacks_stay_within_epsilon_and_raise_the_loss(
    attack: str, subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    torch.manual_seed(0)
    changed = robustness.attacked(subject, attack, 8 / 255)(pixels, targets)
    assert (changed - pixels).abs().max() <= 8 / 255 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1

    def loss(images: Tensor) -> float:
        return float(nn.functional.cross_entropy(subject.model(images), targets))

    assert loss(changed) > loss(pixels)


def test_fgsm_is_a_step_along_the_sign_of_the_gradient(
    subject: Subject, pixels: Tensor, targets: Tensor
) -> None:
    asked = pixels.clone().requires_grad_()
    nn.functional.cross_entropy(subject.model(asked), targets, reduction="sum").backward()
    assert asked.grad is not None
    expected = (pixels + 4 / 255 * asked.grad.sign()).clamp(0, 1)
    changed = robustness.attacked(subject, "FGSM", 4 / 255)(pixels, targets)
    assert (changed - expected).abs().gt(1e-6).float().mean() < 0.01  # a gradient of 0 has no sign
