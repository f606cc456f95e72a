"""Attacks, within epsilon."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.evaluation.suites import (
    robustness,
)

Make = Callable[..., Subject]


class Scaled(nn.Module):
    """Logits times a factor, of the first so many classes."""

    def __init__(self, model: nn.Module, factor: float, classes: int) -> None:
        super().__init__()
        self.model, self.factor, self.classes = model, factor, classes

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels)[:, : self.classes] * self.factor
        return logits


def scaled(subject: Subject, factor: float, classes: int = 10) -> Subject:
    """The same network, more or less sure of itself."""
    model: Any = Scaled(subject.model, factor, classes)
    return replace(subject, model=model)


def among(context: Context, *others: Subject, main: Subject | None = None) -> Context:
    """The same pictures for these networks too."""
    subjects = {"attention": main or context.main} | {other.name: other for other in others}
    made = replace(context, subjects=subjects)
    made.__dict__["test"] = context.test
    return made


def wrong(clean: int, attacked: int) -> robustness.Wrong:
    """So many wrong answers to the first of 100 pictures, unattacked and under every attack."""
    return {
        epsilon: (np.arange(100) < (attacked if epsilon else clean)).astype(np.float64)
        for epsilon in robustness.EPSILONS
    }


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


@pytest.mark.parametrize("factor", [1.0, 5.0])
@pytest.mark.parametrize("name", ["VGG-att3-concat-pc", "VGG-att3-indep-pc", "VGG-GAP"])
def test_fgsm_is_a_step_along_the_sign_of_the_gradient_of_cross_entropy(
    make: Make, name: str, factor: float, pixels: Tensor, targets: Tensor
) -> None:
    asked = make(name)
    exact = pixels.double().requires_grad_()
    logits = make(name).model.double()(exact) * factor
    nn.functional.cross_entropy(logits, targets, reduction="sum").backward()
    assert exact.grad is not None
    expected = (pixels + 4 / 255 * exact.grad.sign()).clamp(0, 1)
    changed = robustness.attacked(scaled(asked, factor), "FGSM", 4 / 255)(pixels, targets)
    assert (changed - expected).abs().gt(1e-6).float().mean() < 0.002  # rounding near 0


@pytest.mark.parametrize("attack", ["FGSM", "PGD"])
@pytest.mark.parametrize("factor", [2.0**-30, 2.0**12])
def test_how_sure_a_network_is_does_not_matter(
    attack: str, factor: float, subject: Subject, pixels: Tensor
) -> None:
    targets = subject.model(pixels)[:, :2].argmax(1)  # it is right, and sure of it
    changed = []
    for each in (1.0, factor):
        torch.manual_seed(0)
        asked = scaled(subject, each, classes=2)
        changed.append(robustness.attacked(asked, attack, 4 / 255)(pixels, targets))
    assert torch.equal(*changed)
    assert (changed[0] != pixels).float().mean() > 0.95


def test_a_sure_network_of_many_classes_is_attacked_in_every_pixel(
    subject: Subject, pixels: Tensor
) -> None:
    targets = subject.model(pixels).argmax(1)
    changed = robustness.attacked(scaled(subject, 1e5), "FGSM", 4 / 255)(pixels, targets)
    moved = (changed - pixels).abs()
    free = (pixels > 4 / 255) & (pixels < 1 - 4 / 255)
    torch.testing.assert_close(moved[free], torch.full_like(moved[free], 4 / 255))


def test_margin_is_cross_entropy_without_its_underflow() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(20, 7, generator=generator, dtype=torch.float64)
    targets = torch.arange(20) % 7
    found = nn.functional.softplus(robustness.margin(logits, targets))
    expected = nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(found, expected)


def test_every_picture_is_kept_for_every_attack_epsilon_and_network(
    context: Context, make: Make
) -> None:
    few = replace(
        among(context, replace(make("VGG-GAP"), name="gap", sha256="2")), limit=5, batch_size=2
    )
    few.__dict__["test"] = context.test
    found = robustness.run(few)
    parts = {path.name for path in (few.out / "parts" / "robustness").glob("*.json")}
    assert len(parts) == 2 * 2 * len(robustness.EPSILONS) + 2
    assert "PGD-2-of-255-gap.json" in parts
    fgsm = robustness._wrong(few, few.main, "FGSM")
    indices = few.chosen()
    pixels, targets = few.pixels(indices), few.targets(indices)
    changed = robustness.attacked(few.main, "FGSM", 4 / 255)(pixels, targets)
    expected = (few.main.model(changed).argmax(1) != targets).double().tolist()
    assert fgsm[4].tolist() == expected
    assert [table.title for table in found.tables] == [
        f"Error under {attack}, %" for attack in ("FGSM", "PGD")
    ]
    assert all(0 <= float(row[-1]) < 5 for row in found.tables[0].rows)  # type: ignore[arg-type]


def test_another_network_of_the_same_name_is_attacked_anew(context: Context, make: Make) -> None:
    first, second = (
        replace(make("VGG-GAP", dropout=n / 10), name="gap", sha256=str(n)) for n in (2, 3)
    )
    with torch.no_grad():
        head: Any = second.network.head
        head.classify.bias.copy_(torch.eye(10)[9] * 1e6)
    found = [robustness._wrong(among(context, each), each, "FGSM")[0] for each in (first, second)]
    assert found[1].mean() == 0.9
    assert found[0].tolist() != found[1].tolist()


def test_values_without_gradient_are_counted(context: Context, subject: Subject) -> None:
    class Half(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = subject.model(torch.cat([pixels[:, :, :16], pixels[:, :, :16]], 2))
            return logits

    model: Any = Half()
    blind = replace(subject, name="control", model=model, sha256="2")
    both = among(context, blind)
    still = {each.name: robustness._still(both, each) for each in both.subjects.values()}
    assert still["control"].mean() == pytest.approx(0.5, abs=0.02)
    assert still["attention"].mean() < 0.02
    (said,) = robustness._masked(both, still)
    assert said.startswith("Control has a gradient of exactly 0 at 50 % of the pixel values")


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (10, 40, "errs less often than control, 10.0 % and 40.0 %: -30.00 points"),
        (40, 10, "errs more often than control, 40.0 % and 10.0 %: +30.00 points"),
        (41, 40, "cannot be told apart from control, 41.0 % and 40.0 %: +1.00 points"),
    ],
)
def test_sentences_say_who_is_attacked_more_easily(
    context: Context, make: Make, mine: int, theirs: int, words: str
) -> None:
    names = ("control", "dp", "attention#2")
    both = among(context, *(replace(make("VGG-control"), name=name) for name in names))
    errors = {name: wrong(5, 90) for name in names}
    errors |= {"attention": wrong(7, mine), "control": wrong(5, theirs)}
    lacks, *said = robustness._sentences(both, {"FGSM": errors, "PGD": errors})
    assert lacks.startswith("No baseline was given")
    assert [each.partition(" of ")[0] for each in said] == ["Under FGSM", "Under PGD"]
    assert all(
        f"Under {a} of 2/255 the network with attention {words}" in s
        for a, s in zip(("FGSM", "PGD"), said, strict=True)
    )
    assert "unattacked +2.00 points" in said[0]


def test_a_network_without_attention_is_called_by_its_name(context: Context, make: Make) -> None:
    plain = among(context, replace(make("VGG-control"), name="control"), main=make("VGG-16-BN"))
    errors = {"attention": wrong(5, 10), "control": wrong(5, 50)}
    (said,) = robustness._sentences(plain, {"FGSM": errors})
    assert said.startswith("Under FGSM of 2/255 VGG-16-BN errs less often than control")
    assert "attention" not in said
