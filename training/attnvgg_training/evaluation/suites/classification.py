"""Error with its interval, per class, and calibration, beside the control and the baseline.

Calibration: the expected calibration error and the reliability diagram of Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017, over 15 bins of equal width.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Row, Series, Table
from attnvgg_training.evaluation.statistics import paired
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.models import gmacs_of

BINS = 15


@dataclass(frozen=True)
class Answered:
    """[N] each: the class answered, its probability, and that of the right class."""

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]


def run(context: Context) -> Findings:
    """All networks given, on the same pictures."""
    targets = context.targets(context.chosen()).cpu().numpy()
    answers = {name: answered(context, subject) for name, subject in context.subjects.items()}
    tables = [_errors(context, answers, targets), _classes(context, answers, targets)]
    if any(len(context.of_role(subject.role)) > 1 for subject in context.subjects.values()):
        tables.insert(1, _seeds(context, answers, targets))
    return Findings(_sentences(answers, targets), tuple(tables), (_reliability(answers, targets),))


def answered(context: Context, subject: Subject) -> Answered:
    """What a network answers to the chosen test pictures."""

    def compute() -> dict[str, list[float]]:
        parts = []
        with torch.inference_mode():
            for indices in context.chosen().split(256):
                chances = subject.model(context.pixels(indices)).float().softmax(1)
                best = chances.max(1)
                right = chances.gather(1, context.targets(indices).unsqueeze(1)).squeeze(1)
                parts.append(torch.stack([best.indices.float(), best.values, right]).cpu())
        rows = torch.cat(parts, dim=1).double()
        return dict(zip(("predicted", "confidence", "right"), rows.tolist(), strict=True))

    found = context.part(f"classification/{subject.name}", compute)
    return Answered(
        np.array(found["predicted"], dtype=np.int64),
        np.array(found["confidence"]),
        np.array(found["right"]),
    )


def calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """The distance between confidence and accuracy, averaged over the pictures in the bins."""
    return float(sum(abs(c - a) * n for c, a, n in binned(confidence, correct, bins))) / len(
        correct
    )


def binned(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of pictures of each bin that holds any. The bins are
    open below and closed above."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    chosen = ((place == each) for each in range(bins))
    return [
        (float(confidence[mask].mean()), float(correct[mask].mean()), int(mask.sum()))
        for mask in chosen
        if mask.any()
    ]


def _errors(context: Context, answers: dict[str, Answered], targets: NDArray[np.int64]) -> Table:
    rows = []
    for name, found in answers.items():
        correct = found.predicted == targets
        rate = wilson(int((~correct).sum()), len(targets))
        network = context.subjects[name].network
        rows.append(
            (
                name,
                context.subjects[name].record.config.model.name,
                sum(p.numel() for p in network.parameters()) / 1e6,
                gmacs_of(network, context.subjects[name].size),
                Interval(100 * rate.rate, 100 * rate.low, 100 * rate.high),
                100 * calibration_error(found.confidence, correct),
                float(-np.log(np.clip(found.right, 1e-12, 1)).mean()),
            )
        )
    columns = (
        "network",
        "name",
        "parameters, M",
        "GMAC",
        "error, %",
        "calibration error, %",
        "negative log-likelihood",
    )
    note = f"{len(targets)} test pictures; Wilson intervals; no temperature was fitted."
    return Table("Error and calibration", columns, tuple(rows), note)


def _seeds(context: Context, answers: dict[str, Answered], targets: NDArray[np.int64]) -> Table:
    def role(name: str) -> str:
        return context.subjects[name].role

    rows = []
    for kind, names in groupby(sorted(answers, key=role), key=role):
        errors = [100 * float((answers[n].predicted != targets).mean()) for n in names]
        spread = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
        rows.append((kind, len(errors), float(np.mean(errors)), spread, min(errors), max(errors)))
    columns = ("network", "seeds", "mean error, %", "standard deviation", "least", "most")
    return Table("Over seeds", columns, tuple(rows))


def _classes(context: Context, answers: dict[str, Answered], targets: NDArray[np.int64]) -> Table:
    rows: list[Row] = []
    for index, label in enumerate(context.main.record.labels):
        mine = targets == index
        if mine.any():
            errors = [100 * float((a.predicted[mine] != index).mean()) for a in answers.values()]
            rows.append((label, int(mine.sum()), *errors))
    return Table("Error of each class, %", ("class", "pictures", *answers), tuple(rows))


def _reliability(answers: dict[str, Answered], targets: NDArray[np.int64]) -> Curves:
    series = []
    for name, found in answers.items():
        bins = binned(found.confidence, found.predicted == targets)
        x, y, _ = zip(*bins, strict=True)
        series.append(Series(name, tuple(x), tuple(y)))
    even = Series("as sure as right", (0.0, 1.0), (0.0, 1.0))
    return Curves(
        "Reliability",
        "probability given",
        "part that is right",
        (*series, even),
        note="Above the diagonal a network is right more often than it says.",
    )


def _sentences(answers: dict[str, Answered], targets: NDArray[np.int64]) -> tuple[str, ...]:
    """Attention against each other network on the same pictures."""
    mine = answers[MAIN].predicted != targets
    found = []
    for name, other in answers.items():
        if name.partition("#")[0] == MAIN:
            continue
        less = paired(mine, other.predicted != targets)
        amount = f"{100 * less.value:+.2f} points ({100 * less.low:+.2f} to {100 * less.high:+.2f})"
        if less.low > 0:
            verdict = "it errs more often than"
        elif less.high < 0:
            verdict = "it errs less often than"
        else:
            verdict = "on so many pictures it cannot be told apart from"
        found.append(
            f"With attention {verdict} {name}: {amount} of error, one seed each, the same pictures."
        )
    return tuple(found)
