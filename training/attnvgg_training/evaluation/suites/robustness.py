"""Adversarial pictures: FGSM and PGD, steps of pixels, error curves of all networks.

FGSM: Goodfellow et al., ICLR 2015. PGD: Madry et al., ICLR 2018, ten steps of a quarter of epsilon
from a random start, within epsilon in every pixel. Both attack the network that they test; captum
carries them out. They raise the log of the sum of the other classes' exponentials less the right
class's logit: its gradient is that of cross-entropy but for a positive factor, which in a network
that is sure of itself is too small for a float and would make it look robust. For the same reason
no gradient but 0 counts as none; how many are exactly 0 stands in the table.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import torch
from captum.robust import FGSM, PGD
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Row, Series, Table
from attnvgg_training.evaluation.peers import (
    WORDS,
    called,
    lacking,
    peers,
    points,
    sentence,
)
from attnvgg_training.evaluation.statistics import paired, told
from attnvgg_training.evaluation.subject import Subject

EPSILONS = (0, 1, 2, 4, 8, 16)  # of 255
SAID = 2  # of 255, the epsilon that sentences are about
STEPS = 10
PICTURES = 1000
ATTACKS = {"FGSM": None, "PGD": PICTURES}
MASKED = 0.1  # share of gradients that are 0, from which on an attack by gradients says little
Wrong = dict[int, NDArray[np.float64]]
"""epsilon, of 255 -> [N], 1 for each picture that a network is wrong about, 0 for the others"""


def run(context: Context) -> Findings:
    """The same pictures for all; FGSM on all chosen, PGD on 1,000 of them at most."""
    subjects = context.rightly_taught
    still = {name: _still(context, subject) for name, subject in subjects.items()}
    found = {
        attack: {name: _wrong(context, subject, attack) for name, subject in subjects.items()}
        for attack in ATTACKS
    }
    return Findings(
        (*_sentences(context, found), *_masked(context, still)),
        tuple(_table(attack, each, still) for attack, each in found.items()),
        tuple(_curves(attack, each) for attack, each in found.items()),
    )


def _wrong(context: Context, subject: Subject, attack: str) -> Wrong:
    """One part for each epsilon."""
    most = ATTACKS[attack]
    return {
        epsilon: np.array(
            context.part(
                f"robustness/{attack} {epsilon} of 255 {subject.name}",
                partial(_attacked, context, subject, attack, epsilon / 255, most),
                uses=[subject],
                steps=STEPS,
                most=most,
            ),
            dtype=float,
        )
        for epsilon in EPSILONS
    }


def _attacked(
    context: Context, subject: Subject, attack: str, epsilon: float, most: int | None
) -> list[int]:
    """1 for each picture that the network is wrong about when it is attacked, 0 for the others."""
    perturb = attacked(subject, attack, epsilon)
    torch.manual_seed(context.seed)
    wrong: list[int] = []
    for chosen in context.chosen(most).split(context.batch_size):
        pixels, targets = context.pixels(chosen), context.targets(chosen)
        changed = perturb(pixels, targets) if epsilon else pixels
        with torch.no_grad():
            wrong += (subject.model(changed).argmax(1) != targets).int().tolist()
    return wrong


def attacked(subject: Subject, attack: str, epsilon: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Pixels [B, 3, H, W] from 0 to 1 and right classes -> pixels, at most epsilon away in each."""

    def compute(pixels: Tensor, targets: Tensor) -> Tensor:
        start = pixels.clone().requires_grad_()
        if attack == "FGSM":
            one = FGSM(subject.model, margin, lower_bound=0, upper_bound=1)
            one.zero_thresh = 0  # captum's 1e-6 spares networks whose gradients are small
            return cast(Tensor, one.perturb(start, epsilon, targets)).detach()
        many = PGD(subject.model, margin, lower_bound=0, upper_bound=1)
        many.fgsm.zero_thresh = 0
        with warnings.catch_warnings():  # it asks for gradients itself, and warns that it does
            warnings.filterwarnings("ignore", "Input Tensor", UserWarning)
            found = many.perturb(
                start, epsilon, epsilon / 4, STEPS, targets, random_start=True, norm="Linf"
            )
        return cast(Tensor, found).detach()

    return compute


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """How far the other classes are ahead of the right one, [B]; cross-entropy is its softplus."""
    right = targets.unsqueeze(1)
    others = logits.scatter(1, right, -torch.inf).logsumexp(1)
    return others - logits.gather(1, right).squeeze(1)


def _still(context: Context, subject: Subject) -> NDArray[np.float64]:
    """The share of each picture's values with a gradient of exactly 0, [N]; no attack by gradients
    moves them at its first step."""

    def compute() -> list[float]:
        shares: list[float] = []
        for chosen in context.chosen(PICTURES).split(context.batch_size):
            pixels = context.pixels(chosen).requires_grad_()
            loss = margin(subject.model(pixels), context.targets(chosen)).sum()
            (gradient,) = torch.autograd.grad(loss, pixels)
            shares += (gradient == 0).flatten(1).float().mean(1).tolist()
        return shares

    name = f"robustness/gradients {subject.name}"
    return np.array(context.part(name, compute, uses=[subject], most=PICTURES), dtype=float)


def _rates(wrong: Wrong) -> list[Interval]:
    """The error in per cent for each epsilon."""
    rates = [wilson(int(each.sum()), len(each)) for each in wrong.values()]
    return [Interval(100 * each.rate, 100 * each.low, 100 * each.high) for each in rates]


def _table(attack: str, found: dict[str, Wrong], still: dict[str, NDArray[np.float64]]) -> Table:
    rows: list[Row] = [
        (name, *_rates(each), 100 * float(still[name].mean())) for name, each in found.items()
    ]
    steps = (f"{epsilon}/255" for epsilon in EPSILONS)
    columns = ("network", *steps, "pixel values without gradient, %")
    count = len(next(iter(found.values()))[0])
    note = (
        f"{count} test pictures; Wilson intervals. Epsilon 0 is the picture as it is. Values "
        f"without gradient: exactly 0 in the unattacked picture, on {PICTURES} pictures at most."
    )
    return Table(f"Error under {attack}, %", columns, tuple(rows), note, digits=1)


def _curves(attack: str, found: dict[str, Wrong]) -> Curves:
    series = tuple(Series.of(name, EPSILONS, _rates(each)) for name, each in found.items())
    return Curves(f"Error under {attack}", "epsilon, of 255", "error, %", series)


def _sentences(context: Context, found: dict[str, dict[str, Wrong]]) -> tuple[str, ...]:
    """The main network against its peers under each attack, picture by picture."""
    said = lacking(context)
    for attack, errors in found.items():
        mine = errors[context.main.name]
        for peer in peers(context):
            theirs = errors[peer.name]
            less, before = (paired(mine[e], theirs[e]) for e in (SAID, 0))
            said.append(
                f"Under {attack} of {SAID}/255 {called(context.main)} {told(less, *WORDS)} "
                f"{peer.name}, {100 * mine[SAID].mean():.1f} % and "
                f"{100 * theirs[SAID].mean():.1f} %: {points(less)} of error on the "
                f"same pictures; unattacked {points(before)}."
            )
    return tuple(said)


def _masked(context: Context, still: dict[str, NDArray[np.float64]]) -> list[str]:
    """Networks that these attacks may fail to attack."""
    names = {peer.name: peer.name for peer in peers(context)}
    return [
        sentence(
            f"{name} has a gradient of exactly 0 at {100 * still[key].mean():.0f} % of the pixel "
            "values: its errors under these attacks are a lower bound."
        )
        for key, name in {context.main.name: called(context.main), **names}.items()
        if still[key].mean() >= MASKED
    ]
