"""Error with its interval, per class, and calibration, beside the control and the baseline.

Two networks are compared on the same pictures: the difference of their errors has a bootstrap
interval over the pictures, and one that holds 0 tells nothing. Where several seeds of both were
given, the difference of their mean errors has Welch's t-interval over the seeds. Networks count as
seeds of one another only if they were trained alike on the same pictures.

Calibration: the expected calibration error and the reliability diagram of Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017, over 15 bins of equal width.
"""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t

from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Row, Series, Table
from attnvgg_training.evaluation.peers import (
    SETTINGS,
    WORDS,
    called,
    check_seeds,
    differing,
    lacking,
    peers,
    points,
    seeds,
    sentence,
)
from attnvgg_training.evaluation.statistics import paired, told
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.models import gmacs_of

BINS = 15

Wrong = dict[str, NDArray[np.float64]]
"""network -> [N], 1 for each picture that it is wrong about, 0 for the others"""


@dataclass(frozen=True)
class Answered:
    """[N] each: the class answered, its probability, and the logarithm of the right class's."""

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    log_right: NDArray[np.float64]


def run(context: Context) -> Findings:
    """All networks given but those of permuted labels, on the same pictures.

    Raises:
        ConfigError: networks of one name, such as control and control#2, differ in more than seeds.
    """
    check_seeds(context)
    targets = context.targets(context.chosen()).cpu().numpy()
    answers = {name: answered(context, subject) for name, subject in context.rightly_taught.items()}
    wrong = {name: (found.predicted != targets) * 1.0 for name, found in answers.items()}
    tables = [_errors(context, answers, targets), _classes(context, answers, targets)]
    if len({context.subjects[name].role for name in answers}) < len(answers):
        tables[1:1] = _seeds(context, wrong)
    return Findings(_sentences(context, wrong), tuple(tables), (_reliability(answers, wrong),))


def answered(context: Context, subject: Subject) -> Answered:
    """What a network answers to the chosen test pictures."""

    def compute() -> dict[str, list[float]]:
        parts = []
        with torch.inference_mode():
            for indices in context.chosen().split(context.batch_size):
                logs = subject.model(context.pixels(indices)).float().log_softmax(1)
                best = logs.max(1)
                right = logs.gather(1, context.targets(indices).unsqueeze(1)).squeeze(1)
                parts.append(torch.stack([best.indices.float(), best.values.exp(), right]).cpu())
        rows = torch.cat(parts, dim=1).double()
        return dict(zip(("predicted", "confidence", "log_right"), rows.tolist(), strict=True))

    found = context.part(f"classification/{subject.name}", compute, uses=[subject])
    return Answered(
        np.array(found["predicted"], dtype=np.int64),
        np.array(found["confidence"]),
        np.array(found["log_right"]),
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


def over_seeds(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """The difference of two means, first less second, with Welch's 95 % t-interval; its bounds are
    no numbers where one of them has a single value or neither varies."""
    mean = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return Interval(mean, nan, nan)
    parts = [float(each.var(ddof=1)) / len(each) for each in (first, second)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(each) - 1) for part, each in zip(parts, (first, second), strict=True)
    )
    half = float(t.ppf(0.975, freedom)) * sqrt(sum(parts))
    return Interval(mean, mean - half, mean + half)


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
                float(-found.log_right.mean()),
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


def _rates(context: Context, wrong: Wrong, role: str) -> NDArray[np.float64]:
    """Error of each seed of a role, as a share."""
    return np.array([wrong[subject.name].mean() for subject in seeds(context, role)])


def _seeds(context: Context, wrong: Wrong) -> list[Table]:
    """Each role's errors, and those of the main network's role less those of its peers'."""
    rows: list[Row] = []
    for role in dict.fromkeys(context.subjects[name].role for name in wrong):
        errors = 100 * _rates(context, wrong, role)
        spread = float(errors.std(ddof=1)) if len(errors) > 1 else None
        ends = float(errors.min()), float(errors.max())
        rows.append((role, len(errors), float(errors.mean()), spread, *ends))
    columns = ("network", "seeds", "mean error, %", "standard deviation", "least", "most")
    note = "Networks of the same seed count once."
    tables = [Table("Over seeds", columns, tuple(rows), note)]
    less = [_less(context, wrong, peer.role) for peer in peers(context)]
    heads = ("network", "less", "seeds", "seeds of the other", "difference of mean errors, points")
    note = "Welch's 95 % t-interval over seeds, for these pictures, where both have two or more."
    return [*tables, Table("Difference over seeds", heads, tuple(less), note)] if less else tables


def _less(context: Context, wrong: Wrong, role: str) -> Row:
    mine, theirs = (100 * _rates(context, wrong, each) for each in (context.main.role, role))
    name = context.main.role if context.main.maps else context.main.record.config.model.name
    return name, role, len(mine), len(theirs), over_seeds(mine, theirs)


def _classes(context: Context, answers: dict[str, Answered], targets: NDArray[np.int64]) -> Table:
    rows: list[Row] = []
    for index, label in enumerate(context.main.record.labels):
        mine = targets == index
        if mine.any():
            errors = [100 * float((a.predicted[mine] != index).mean()) for a in answers.values()]
            rows.append((label, int(mine.sum()), *errors))
    return Table("Error of each class, %", ("class", "pictures", *answers), tuple(rows))


def _reliability(answers: dict[str, Answered], wrong: Wrong) -> Curves:
    series = []
    for name, found in answers.items():
        x, y, _ = zip(*binned(found.confidence, wrong[name] == 0), strict=True)
        series.append(Series(name, tuple(x), tuple(y)))
    even = Series("as sure as right", (0.0, 1.0), (0.0, 1.0))
    return Curves(
        "Reliability",
        "probability given",
        "part that is right",
        (*series, even),
        note="Above the diagonal a network is right more often than it says.",
    )


def _sentences(context: Context, wrong: Wrong) -> tuple[str, ...]:
    """The main network against its peers, on the same pictures and over seeds."""
    said = lacking(context)
    for peer in peers(context):
        said += [_on_pictures(context, wrong, peer), *_on_seeds(context, wrong, peer)]
        said += _unfair(context.main, peer)
    return tuple(said)


def _on_pictures(context: Context, wrong: Wrong, peer: Subject) -> str:
    less = paired(wrong[context.main.name], wrong[peer.name])
    alone = all(len(seeds(context, each.role)) == 1 for each in (context.main, peer))
    which = "one seed each" if alone else "these two networks without their further seeds"
    return sentence(
        f"{called(context.main)} {told(less, *WORDS)} {peer.name}: {points(less)} of "
        f"error, {which}, the same pictures."
    )


def _on_seeds(context: Context, wrong: Wrong, peer: Subject) -> list[str]:
    mine, theirs = (_rates(context, wrong, each.role) for each in (context.main, peer))
    if min(len(mine), len(theirs)) < 2:
        return []
    less = over_seeds(mine, theirs)
    return [
        f"Over {len(mine)} seeds, and {len(theirs)} of the other, {called(context.main)} "
        f"{told(less, *WORDS)} {peer.role}: {points(less)} of mean error."
    ]


def _unfair(main: Subject, peer: Subject) -> list[str]:
    """What else than the network differs; of the control, the trunk as well; of the network with
    even maps, anything but that they are."""
    lacks = main.record.config.model.entry.lacks | peer.record.config.model.entry.lacks
    shared = SETTINGS - lacks - {"name", "global_feature"} if peer.role == "control" else set()
    shared = SETTINGS if peer.role == "even" else shared
    found = differing(main, peer, shared)
    if peer.role == "even":
        found = [each for each in found if not each.startswith("train.learn_maps ")]
    if not found:
        return []
    return [
        f"{sentence(called(main))} and {peer.name} were not made alike ({', '.join(found)}): what "
        "they differ by need not come from attention."
        if main.maps
        else f"{called(main)} and {peer.name} were not trained alike ({', '.join(found)})."
    ]
