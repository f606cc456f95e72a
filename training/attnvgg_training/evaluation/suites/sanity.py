"""Sanity checks: do the maps depend on what was learned?

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018. Weights are drawn anew from the
logits down, one block after the other (cascading), or one block at a time with the others trained
(independent); the maps of the changed network are compared with those of the trained one by
Spearman's rank correlation and by SSIM. A method whose maps stay alike does not show what was
learned; how alike is judged beside the trained network's maps of two different pictures, since some
methods show much the same whatever they are given. A block is drawn as it was before training, with
batch norms at rest; u, which starts at zero here, is drawn as noise of the trained u's size.
Occlusion, which asks fifty times as much as the others, and guided Grad-CAM, which repeats two of
them, are left out.

Data: a network trained on permuted labels, if it was given (`--beside permuted=`), beside a second
one trained on the right labels (`--beside attention#2=`), which says how alike two honest networks'
maps are.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import numpy as np
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor

from attnvgg_training.evaluation.applied import maps, partners, resized
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.findings import Curves, Findings, Interval, Row, Series, Table
from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.redraw import blocks, redrawn
from attnvgg_training.evaluation.statistics import bootstrap, paired
from attnvgg_training.evaluation.subject import Subject

PICTURES = 100
MEASURES = {"rank": "rank correlation", "ssim": "SSIM"}
BLIND = 0.9  # a rank correlation above which a map is called the same
ALIKE = 0.7  # a mean one with another picture's map, above which a method shows much the same
BY_HEART = 0.95  # part of the training pictures
Values = list[float | None]
Trained = Callable[[], dict[str, Tensor]]  # method -> the main network's maps, computed once
Stages = dict[str, dict[str, list[Values]]]
NOWHERE = Interval(math.nan, math.nan, math.nan)


def run(context: Context) -> Findings:
    """Cascading and independent randomisation; permuted labels where such a network was given."""
    names = blocks(context.main.network)
    labels = tuple(_label(name) for name in names)
    trained = cache(lambda: dict(_all_maps(context, context.main)))
    floor = context.part("sanity/another picture", partial(_floor, context, trained))
    up_to = [names[:count] for count in range(len(names) + 1)]
    cascading = _stages(context, trained, "cascading", up_to)
    independent = _stages(context, trained, "independent", [(name,) for name in names])
    curves = []
    for how, found, ticks, note in (
        ("cascading", cascading, ("trained", *labels), "Blocks drawn anew, from the logits down."),
        ("independent", independent, labels, "Each block alone drawn anew, the others as trained."),
    ):
        for measure, title in MEASURES.items():
            series = tuple(_series(name, each[measure]) for name, each in found.items())
            heading = f"{how}: {title} with the trained network's maps"
            curves.append(Curves(heading, "", title, series, ticks, note))
    tables = [_ends(cascading, floor, len(context.chosen(PICTURES)))]
    sentences = [_by_construction(context.main), *_head_alone(context, cascading)]
    sentences += _verdicts(cascading, floor)
    others = [*context.of_role("permuted"), *context.of_role(MAIN)[1:]]
    if others:
        table, said = _data(context, trained, others)
        tables.append(table)
        sentences += said
    return Findings(tuple(sentences), tuple(tables), tuple(curves))


def _label(block: str) -> str:
    """`units.12` is the thirteenth convolution."""
    kind, _, number = block.partition(".")
    return f"conv{int(number) + 1}" if kind == "units" else block


def _stages(
    context: Context, trained: Trained, how: str, stages: Sequence[tuple[str, ...]]
) -> Stages:
    """Method -> measure -> [stage][picture]: how alike the maps are to the trained network's."""
    found: Stages = {}
    for number, stage in enumerate(stages):
        part = f"sanity/{how} {number} of {len(stages) - 1}"
        for name, each in context.part(part, partial(_randomised, context, trained, stage)).items():
            for measure in MEASURES:
                found.setdefault(name, {m: [] for m in MEASURES})[measure].append(each[measure])
    return found


def _randomised(
    context: Context, trained: Trained, stage: tuple[str, ...]
) -> dict[str, dict[str, Values]]:
    """Method -> measure -> [picture], with these blocks drawn anew."""
    changed = redrawn(context.main, stage, context.seed)
    return {name: compared(trained()[name], after) for name, after in _all_maps(context, changed)}


def _floor(context: Context, trained: Trained) -> dict[str, dict[str, Values]]:
    """How alike the trained network's maps of different pictures are: what any map of the method
    has in common, whatever it shows."""
    other = partners(context.targets(context.chosen(PICTURES)).cpu(), context.seed)
    return {name: compared(found, found[other]) for name, found in trained().items()}


def _all_maps(context: Context, subject: Subject) -> Iterator[tuple[str, Tensor]]:
    indices = context.chosen(PICTURES)
    pixels, targets = context.pixels(indices), context.targets(indices)
    for method in _of_interest(subject):
        yield method.name, maps(method, pixels, targets, context.batch_size)


def _of_interest(subject: Subject) -> list[Method]:
    """Occlusion asks fifty times as much as the others, and guided Grad-CAM repeats two of them."""
    return [
        method
        for method in methods(subject)
        if method.kind != "control"
        and method.name != "occlusion"
        and not method.name.startswith("guided grad-cam")
    ]


def compared(first: Tensor, second: Tensor) -> dict[str, Values]:
    """Maps [N, h, w] of two networks -> Spearman's rank correlation and SSIM of each pair. None
    where one of them is the same everywhere: it has no ranks. SSIM is of maps scaled by their
    maximum, at 16x16 at least, so that its window of 7 fits."""
    ranks: Values = []
    similar: Values = []
    side = max(16, first.shape[-1])
    fine = [scaled(resized(each, side, side)) for each in (first, second)]
    for index, (a, b) in enumerate(zip(first.flatten(1), second.flatten(1), strict=True)):
        if bool(a.min() == a.max() or b.min() == b.max()):
            ranks.append(None)
            similar.append(None)
            continue
        ranks.append(float(spearmanr(a.numpy(), b.numpy()).statistic))
        x, y = (each[index].numpy().astype(np.float64) for each in fine)
        similar.append(float(structural_similarity(x, y, data_range=1.0)))
    return {"rank": ranks, "ssim": similar}


def scaled(found: Tensor) -> Tensor:
    """Maps [N, h, w] divided by their maximum; zeros stay zeros."""
    return found / found.amax((1, 2), keepdim=True).clamp_min(torch.finfo(found.dtype).tiny)


def _series(name: str, by_stage: list[Values]) -> Series:
    return Series.of(name, range(len(by_stage)), [_mean(each) or NOWHERE for each in by_stage])


def _mean(values: Values) -> Interval | None:
    """Over the pictures that have a value."""
    kept = [value for value in values if value is not None]
    return bootstrap(kept) if kept else None


def _ends(found: Stages, floor: dict[str, dict[str, Values]], count: int) -> Table:
    rows: list[Row] = []
    for name, each in found.items():
        last = each["rank"][-1]
        rows.append(
            (
                name,
                _mean(each["rank"][1]),
                _mean(last),
                _mean(floor[name]["rank"]),
                _mean(each["ssim"][-1]),
                _mean(floor[name]["ssim"]),
                100 * last.count(None) / len(last),
            )
        )
    columns = (
        "map",
        "rank, head drawn anew",
        "rank, everything",
        "rank, another picture's map",
        "SSIM, everything",
        "SSIM, another picture's map",
        "flat maps, %",
    )
    note = (
        f"{count} test pictures; 1 is the same; 95 % bootstrap intervals. How alike maps of the "
        "trained network are for two pictures of different classes is the floor: what the method "
        "always shows. Maps that are the same everywhere have no ranks and are left out."
    )
    return Table("After cascading randomisation", columns, tuple(rows), note)


def _head_alone(context: Context, found: Stages) -> list[str]:
    """Who does not notice that the answers have become noise, although it asks for a class."""
    by_class = {m.name for m in _of_interest(context.main) if m.by_class}
    means = {name: _mean(each["rank"][1]) for name, each in found.items() if name in by_class}
    blind = [name for name, mean in means.items() if mean is not None and mean.low > BLIND]
    if not blind:
        return []
    return [
        "With the head alone drawn anew the answers are noise, and yet these keep a rank "
        f"correlation above {BLIND} with the trained network's maps: {', '.join(blind)}."
    ]


def _verdicts(found: Stages, floor: dict[str, dict[str, Values]]) -> list[str]:
    """Who still resembles the trained network's maps when nothing of what was learned is left, and
    whose maps are much the same whatever the picture."""
    kept: list[str] = []
    passed: list[str] = []
    for name, each in found.items():
        pairs = zip(each["rank"][-1], floor[name]["rank"], strict=True)
        both = [(after, other) for after, other in pairs if None not in (after, other)]
        if not both:
            continue
        after, other = np.array(both, dtype=float).T
        (kept if paired(after, other).low > 0 else passed).append(name)
    said = []
    if passed:
        said.append(
            "With everything drawn anew these are no more like the trained network's maps than "
            f"maps of another picture are, as they should be: {', '.join(passed)}."
        )
    if kept:
        said.append(
            f"These still are, and so show something that was not learned: {', '.join(kept)}."
        )
    means = {name: _mean(floor[name]["rank"]) for name in found}
    alike = [f"{n} {mean.value:.2f}" for n, mean in means.items() if mean and mean.value > ALIKE]
    if alike:
        said.append(
            "Much of these is the same whatever the picture; the rank correlation with another "
            f"picture's map is {', '.join(alike)}."
        )
    return said


def _by_construction(subject: Subject) -> str:
    if not subject.maps:
        return "The network has no learned maps; what follows is about methods applied afterwards."
    if subject.network.g_matters:
        return (
            "The head comes after the maps: drawn anew, it leaves them as they are by construction."
        )
    return (
        "The head comes after the maps, and so do, for each level, all layers behind its tap: "
        "drawn anew, they leave the map as it is by construction. Only a level's own u and what "
        "lies before its tap can change it."
    )


def _data(context: Context, trained: Trained, others: list[Subject]) -> tuple[Table, list[str]]:
    found = {
        other.name: context.part(
            f"sanity/apart {other.name}",
            partial(_apart, context, trained, other),
            uses=[context.main, other],
        )
        for other in others
    }
    names = [
        method.name
        for method in _of_interest(context.main)
        if all(method.name in each for each in found.values())
    ]
    rows = tuple((n, *(_mean(found[other.name][n]) for other in others)) for n in names)
    columns = ("map", *(f"rank correlation with {other.name}" for other in others))
    learned = ", ".join(f"{o.name} {_learned(o)}" for o in others)
    note = (
        "The same pictures in networks trained apart. `permuted` learned labels that mean nothing: "
        "maps that are as like its maps as those of another seed do not show what was learned. "
        f"Accuracy on their own training pictures, averaged over the last epoch: {learned}."
    )
    table = Table("Networks trained apart", columns, rows, note)
    return table, [said for other in others for said in _of_permuted(other, others, found, names)]


def _apart(context: Context, trained: Trained, other: Subject) -> dict[str, Values]:
    """Method -> rank correlation of the main network's map with the other's, for each picture."""
    before, result = trained(), {}
    for name, after in _all_maps(context, other):
        if name in before and after.shape == before[name].shape:
            result[name] = compared(before[name], after)["rank"]
    return result


def _learned(subject: Subject) -> str:
    accuracy = subject.record.metrics.get("train_accuracy")
    return "unknown" if accuracy is None else f"{100 * accuracy:.1f} %"


def _of_permuted(
    permuted: Subject, others: list[Subject], found: dict[str, dict[str, Values]], names: list[str]
) -> list[str]:
    """Beside the first of the other seeds."""
    if permuted.role != "permuted":
        return []
    said = []
    accuracy = permuted.record.metrics.get("train_accuracy")
    if accuracy is None or accuracy < BY_HEART:
        said.append(
            f"{permuted.name} has not learned its labels by heart ({_learned(permuted)} of its "
            "training pictures are right): what follows about it means little."
        )
    honest = next((other for other in others if other.role == MAIN), None)
    if honest is None:
        return said
    alike: list[str] = []
    told_apart: list[str] = []
    for name in names:
        pairs = zip(found[honest.name][name], found[permuted.name][name], strict=True)
        both = [(a, b) for a, b in pairs if None not in (a, b)]
        if both:
            first, second = np.array(both, dtype=float).T
            (told_apart if paired(first, second).low > 0 else alike).append(name)
    if told_apart:
        said.append(
            f"Maps that are more like those of {honest.name} than those of {permuted.name}, and so "
            f"depend on the labels: {', '.join(told_apart)}."
        )
    if alike:
        said.append(f"Maps of which that cannot be said: {', '.join(alike)}.")
    return said
