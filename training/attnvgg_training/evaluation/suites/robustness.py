"""Adversarial pictures: FGSM and PGD, steps of pixels, error curves of all networks.

FGSM: Goodfellow et al., ICLR 2015. PGD: Madry et al., ICLR 2018, ten steps of a quarter of epsilon
from a random start, within epsilon in every pixel. Both attack the network that they test, with the
loss of the right class; captum carries them out.
"""

import warnings
from collections.abc import Callable
from typing import cast

import torch
from captum.robust import FGSM, PGD
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Row, Series, Table
from attnvgg_training.evaluation.subject import Subject

EPSILONS = (0, 1, 2, 4, 8, 16)  # of 255
STEPS = 10
PICTURES = 1000


def run(context: Context) -> Findings:
    """The same pictures for all; FGSM on all chosen, PGD on 1,000 of them at most."""
    curves, tables = [], []
    ends: dict[str, dict[str, float]] = {}
    for attack, most in (("FGSM", None), ("PGD", PICTURES)):
        found = {
            name: _errors(context, subject, attack, most)
            for name, subject in context.subjects.items()
        }
        count = len(context.chosen(most))
        series = tuple(
            Series(
                name,
                EPSILONS,
                *(tuple(getattr(e, key) for e in each) for key in ("value", "low", "high")),
            )
            for name, each in found.items()
        )
        curves.append(Curves(f"Error under {attack}", "epsilon, of 255", "error, %", series))
        rows: list[Row] = [(name, *each) for name, each in found.items()]
        columns = ("network", *(f"{epsilon}/255" for epsilon in EPSILONS))
        note = f"{count} test pictures; Wilson intervals. Epsilon 0 is the picture as it is."
        tables.append(Table(f"Error under {attack}, %", columns, tuple(rows), note, digits=1))
        ends[attack] = {name: each[EPSILONS.index(2)].value for name, each in found.items()}
    return Findings(_sentences(ends), tuple(tables), tuple(curves))


def _errors(context: Context, subject: Subject, attack: str, most: int | None) -> list[Interval]:
    def compute() -> list[Interval]:
        return [_error(context, subject, attack, epsilon / 255, most) for epsilon in EPSILONS]

    found = context.part(f"robustness/{attack} {subject.name}", compute, steps=STEPS, most=most)
    return [Interval(**each) for each in found]


def _error(
    context: Context, subject: Subject, attack: str, epsilon: float, most: int | None
) -> Interval:
    perturb = attacked(subject, attack, epsilon)
    torch.manual_seed(context.seed)
    indices, wrong = context.chosen(most), 0
    for chosen in indices.split(256):
        pixels, targets = context.pixels(chosen), context.targets(chosen)
        changed = perturb(pixels, targets) if epsilon else pixels
        with torch.no_grad():
            wrong += int((subject.model(changed).argmax(1) != targets).sum())
    rate = wilson(wrong, len(indices))
    return Interval(100 * rate.rate, 100 * rate.low, 100 * rate.high)


def attacked(subject: Subject, attack: str, epsilon: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Pixels [B, 3, H, W] from 0 to 1 and right classes -> pixels, at most epsilon away in each."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")

    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        start = pixels.clone().requires_grad_()
        if attack == "FGSM":
            one = FGSM(subject.model, loss, lower_bound=0, upper_bound=1)
            return cast(Tensor, one.perturb(start, epsilon, targets)).detach()
        many = PGD(subject.model, loss, lower_bound=0, upper_bound=1)
        with warnings.catch_warnings():  # it asks for gradients itself, and warns that it does
            warnings.filterwarnings("ignore", "Input Tensor", UserWarning)
            found = many.perturb(
                start, epsilon, epsilon / 4, STEPS, targets, random_start=True, norm="Linf"
            )
        return cast(Tensor, found).detach()

    return compute


def _sentences(ends: dict[str, dict[str, float]]) -> tuple[str, ...]:
    said = []
    for attack, errors in ends.items():
        others = {n: e for n, e in errors.items() if n.partition("#")[0] != MAIN}
        for name, error in others.items():
            verdict = "less" if errors[MAIN] < error else "more" if errors[MAIN] > error else "as"
            said.append(
                f"Under {attack} of 2/255 the network with attention errs in {errors[MAIN]:.1f} %, "
                f"{name} in {error:.1f} %: attention {verdict} often."
            )
    return tuple(said)
