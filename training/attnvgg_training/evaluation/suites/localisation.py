"""Do the maps lie on the object? On photos whose object is known, and on mosaics of pictures.

Photos: the share of a map inside the object, also over the object's share of the area (1 is an even
look), and the pointing game of Zhang et al., "Top-down Neural Attention by Excitation Backprop",
ECCV 2016: whether the maximum lies inside. Where several cells share the maximum, it is the part of
them that lies inside: for a map that is the same everywhere the object's share of the area. Methods
that ask about a class ask about the one answered.

Mosaics: four pictures side by side, each at the size the network was trained at, so that the whole
is seen at twice that. One has a label that the network knows among three that have none; and, to
tell who knows the class asked about, four of four different labels. Methods that ask about a class
ask about the label of the picture in question. The questions about one mosaic are one sample: their
mean is what intervals are drawn from.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnvgg_training.evaluation.applied import chances, looking, maps, shares, tops
from attnvgg_training.evaluation.context import MAIN, Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Interval, Row, Table
from attnvgg_training.evaluation.masks import Masked
from attnvgg_training.evaluation.methods import Method, learned
from attnvgg_training.evaluation.mosaics import (
    MOSAICS,
    Mosaics,
    by_quarter,
    of_four_labels,
    with_distractors,
)
from attnvgg_training.evaluation.statistics import bootstrap, paired, told
from attnvgg_training.evaluation.subject import Subject

CHANCE = 1 / 4
Looks = list[tuple[Subject, Method]]
Values = dict[str, NDArray[np.float64]]
Words = tuple[str, str, str]  # for less, for more, and where an interval does not tell
IN_OBJECT = (
    "has less inside the object than",
    "has more inside the object than",
    "has about as much inside the object as",
)
AT_OBJECT = (
    "points at the object less often than",
    "points at the object more often than",
    "points at the object about as often as",
)
ON_LABELLED = (
    "puts less on the labelled picture of a mosaic than",
    "puts more on the labelled picture of a mosaic than",
    "puts about as much on the labelled picture of a mosaic as",
)
AT_LABELLED = (
    "points at the labelled picture of a mosaic less often than",
    "points at the labelled picture of a mosaic more often than",
    "points at the labelled picture of a mosaic about as often as",
)


def run(context: Context) -> Findings:
    """Photos where --masks is given, mosaics with distractors where --pictures localisation is,
    mosaics of four labels where the test split shows as many."""
    looks = looking(context)
    tables, sentences = [], []
    if context.masks is not None:
        table, said = _photos(context, looks)
        tables += [table, *_seeds(context)]
        sentences += said
    if "localisation" in context.others:
        table, said = _mosaics(context, looks)
        tables.append(table)
        sentences += said
    shown = len(context.targets(torch.arange(len(context.test))).unique())
    if shown >= 4:
        table, said = _four(context, looks)
        tables.append(table)
        sentences += said
    else:
        sentences.append(
            f"Mosaics of four labels are left out: the pictures of the test split show {shown}."
        )
    tables.append(_sparseness(context, looks))
    return Findings(tuple(sentences), tuple(tables))


def _found(
    context: Context, what: str, looks: Looks, measure: Callable[[Subject, Method], Any]
) -> dict[str, Any]:
    """A part for each map, by its name."""
    return {
        method.name: context.part(
            f"localisation/{what} {method.name}",
            partial(measure, subject, method),
            uses=(context.main, subject),
        )
        for subject, method in looks
    }


def _photos(context: Context, looks: Looks) -> tuple[Table, list[str]]:
    found = _found(context, "photos", looks, partial(_on_objects, context))
    mass = {name: 100 * np.array(each["mass"]) for name, each in found.items()}
    hits = {name: 100 * np.array(each["hit"]) for name, each in found.items()}
    rows = tuple(
        (name, bootstrap(mass[name]), bootstrap(each["ratio"], "median"), bootstrap(hits[name]))
        for name, each in found.items()
    )
    columns = ("map", "inside, %", "inside over area, median", "maximum inside, %")
    note = (
        f"{len(context.photos)} photos; 95 % bootstrap intervals. `centre` points at the middle, "
        "`uniform` everywhere: its maximum inside is the object's share of the area. Methods that "
        "ask about a class ask about the one ANSWERED, by their own network."
    )
    said = [
        *_against_centre(hits),
        *_against_afterwards(looks, mass, IN_OBJECT),
        *_against_afterwards(looks, hits, AT_OBJECT),
    ]
    return Table("Photos with object masks", columns, rows, note), said


def _on_objects(context: Context, subject: Subject, method: Method) -> dict[str, list[float]]:
    """Of each photo, `mass`: share inside; `ratio`: that over the object's share of the area;
    `hit`: which part of the largest cells is inside."""
    photos = [masked for _, masked in context.photos]
    pixels = as_pixels(torch.from_numpy(np.stack([each.pixels for each in photos])))
    pixels = pixels.to(context.device)
    asked = chances(subject, pixels, context.batch_size).argmax(1).to(context.device)
    found = maps(method, pixels, asked, context.batch_size)
    height, width = found.shape[1:]
    cover = torch.from_numpy(np.stack([each.coverage(height, width) for each in photos]))
    inside = (shares(found) * cover).sum((1, 2))
    hits = [pointed(*each) for each in zip(tops(found), photos, strict=True)]
    ratio = inside / cover.mean((1, 2))
    return {"mass": inside.tolist(), "ratio": ratio.tolist(), "hit": hits}


def pointed(top: Tensor, photo: Masked) -> float:
    """The part of the cells that are not 0 in `top`, [h, w], whose middle is object; where no cell
    is 0, the object's share of the area."""
    height, width = top.shape
    cells = top.nonzero().tolist()
    if len(cells) == top.numel():
        return float(photo.coverage(1, 1).mean())
    middles = [((row + 0.5) / height, (column + 0.5) / width) for row, column in cells]
    return float(np.mean([photo.holds(*middle) for middle in middles]))


def _seeds(context: Context) -> list[Table]:
    """The learned maps of every network called attention, where there are several."""
    networks = context.of_role(MAIN)
    if len(networks) < 2:
        return []
    rows: list[Row] = []
    for name in context.main.maps:
        of_level = [
            (subject, next(m for m in learned(subject) if m.name == f"attention {name}"))
            for subject in networks
            if name in subject.maps
        ]
        for subject, method in of_level:
            part = f"localisation/seeds {subject.name} {name}"
            measure = partial(_on_objects, context, subject, method)
            each = context.part(part, measure, uses=(context.main, subject))
            hit = bootstrap(100 * np.array(each["hit"]))
            rows.append((name, subject.name, bootstrap(each["ratio"], "median"), hit))
    columns = ("map", "network", "inside over area, median", "maximum inside, %")
    note = (
        "The same photos, network by network; nothing is averaged over them. They say how much "
        "seeds differ only if the networks were trained alike but for the seed."
    )
    return [Table("Learned maps, seed by seed", columns, tuple(rows), note)]


def _against_centre(hits: Values) -> list[str]:
    """hits: map -> [N], %."""
    return [
        _compared(name, "the centre", paired(each, hits["centre"]), AT_OBJECT)
        for name, each in hits.items()
        if name.startswith("attention ")
    ]


def _against_afterwards(looks: Looks, values: Values, words: Words) -> list[str]:
    """The best learned map against the best method applied afterwards; map -> [N], %."""
    own, others = _of_kind(looks, "learned"), _of_kind(looks, "afterwards")
    if not own:
        return []
    best, rival = _best(values, own), _best(values, others)
    theirs = f"the best of {len(others)} methods applied afterwards ({rival})"
    more = paired(values[best], values[rival])
    return [_compared(f"The best of {len(own)} learned maps ({best})", theirs, more, words)]


def _of_kind(looks: Looks, kind: str) -> list[str]:
    return [method.name for _, method in looks if method.kind == kind]


def _best(values: Values, names: list[str]) -> str:
    return max(names, key=lambda name: float(values[name].mean()))


def _compared(name: str, other: str, more: Interval, words: Words) -> str:
    amount = f"{more.value:+.1f} points ({more.low:+.1f} to {more.high:+.1f})"
    return f"{name} {told(more, *words)} {other}: {amount}."


def _mosaics(context: Context, looks: Looks) -> tuple[Table, list[str]]:
    made = with_distractors(context)
    found = _found(context, "mosaics", looks, partial(_quarters, context, made))
    right = context.part("localisation/mosaics answers", partial(_right, context, made))
    mass, hits = _by_mosaic(found, "mass", 1), _by_mosaic(found, "hit", 1)
    note = (
        f"{len(made.quarter)} mosaics, of which the network names the labelled picture's class in "
        f"{100 * np.mean(right):.0f} %; 95 % bootstrap intervals; 25 % is chance. Methods that ask "
        "about a class ask about the labelled picture's."
    )
    title = "One labelled picture among three from outside the labels"
    said = [
        *_against_chance(_of_kind(looks, "learned"), mass, "on the labelled picture"),
        *_against_afterwards(looks, mass, ON_LABELLED),
        *_against_afterwards(looks, hits, AT_LABELLED),
    ]
    return _table(title, mass, hits, note), said


def _right(context: Context, made: Mosaics) -> list[bool]:
    """Whether the main network answers the labelled picture's class."""
    answer = chances(context.main, made.pixels, context.batch_size).argmax(1)
    right: list[bool] = (answer == made.targets.cpu()).tolist()
    return right


def _four(context: Context, looks: Looks) -> tuple[Table, list[str]]:
    made = of_four_labels(context)
    found = _found(context, "four", looks, partial(_quarters, context, made))
    mass, hits = _by_mosaic(found, "mass", 4), _by_mosaic(found, "hit", 4)
    note = (
        f"{len(made.quarter) // 4} mosaics, four questions each, whose mean is one value: 95 % "
        "bootstrap intervals over the mosaics. A map that does not depend on the class asked about "
        "has 25 % by construction."
    )
    said = []
    if _of_kind(looks, "learned"):
        said.append(
            "The learned maps do not depend on the class asked about: of a mosaic of four labels "
            "they put 25 % on the one in question by construction. They say where the network "
            "looked, not what speaks for a class."
        )
    asking = [method.name for _, method in looks if method.by_class]
    said += _against_chance(asking, mass, "on the picture asked about")
    return _table("Four labelled pictures, each asked about in turn", mass, hits, note), said


def _by_mosaic(found: dict[str, Any], what: str, questions: int) -> Values:
    """Map -> [mosaics], %: the mean over the questions, which follow each other."""
    return {
        name: 100 * np.array(each[what]).reshape(-1, questions).mean(1)
        for name, each in found.items()
    }


def _table(title: str, mass: Values, hits: Values, note: str) -> Table:
    rows = tuple((name, bootstrap(mass[name]), bootstrap(hits[name])) for name in mass)
    columns = ("map", "in the right quarter, %", "maximum there, %")
    return Table(title, columns, rows, note, digits=1)


def _against_chance(names: list[str], mass: Values, where: str) -> list[str]:
    """The best of these maps; mass: map -> [mosaics], %."""
    if not names:
        return []
    best = _best(mass, names)
    share, more = bootstrap(mass[best]), bootstrap(mass[best] - 100 * CHANCE)
    verdict = told(more, "less than chance", "more than chance", "which may be chance")
    amount = f"{share.value:.1f} % ({share.low:.1f} to {share.high:.1f})"
    return [
        f"In mosaics the best of {len(names)} maps ({best}) puts {amount} {where}, {verdict} "
        f"({100 * CHANCE:.0f} %)."
    ]


def _quarters(
    context: Context, made: Mosaics, subject: Subject, method: Method
) -> dict[str, list[float]]:
    """Share and maxima of each map in the quarter in question."""
    found = maps(method, made.pixels, made.targets, context.batch_size)
    quarter = made.quarter.cpu().unsqueeze(1)
    mass = by_quarter(shares(found)).gather(1, quarter).squeeze(1)
    hits = by_quarter(tops(found)).gather(1, quarter).squeeze(1)
    return {"mass": mass.tolist(), "hit": hits.tolist()}


def _sparseness(context: Context, looks: Looks) -> Table:
    """Of maps on single test pictures."""
    indices = context.chosen(MOSAICS)
    pixels, targets = context.pixels(indices), context.targets(indices)

    def measure(subject: Subject, method: Method) -> dict[str, Any]:
        found = shares(maps(method, pixels, targets, context.batch_size)).flatten(1)
        return {
            "gini": gini(found).tolist(),
            "entropy": _entropy(found).tolist(),
            "cells": found.shape[1],
        }

    rows = tuple(
        (name, each["cells"], bootstrap(each["gini"]), bootstrap(each["entropy"]))
        for name, each in _found(context, "sparse", looks, measure).items()
    )
    return Table(
        "Sparseness",
        ("map", "cells", "Gini index", "entropy, part of the even one's"),
        rows,
        f"Means over {len(indices)} test pictures, 95 % bootstrap intervals; methods that ask "
        "about a class ask about the true one. Gini index (Hurley and Rickard, 2009): 0 where all "
        "cells are alike, 1 - 1 / cells where one has everything. It depends on the number of "
        "cells, also because a fine grid shows what a coarse one averages away: compare maps of as "
        "many.",
    )


def gini(found: Tensor) -> Tensor:
    """Of non-negative values with the sum of 1, [N, M] -> [N]."""
    ordered = found.double().sort(dim=1).values
    count = found.shape[1]
    rank = torch.arange(1, count + 1, dtype=torch.float64)
    index: Tensor = 1 - 2 * (ordered * (count - rank + 0.5) / count).sum(1)
    return index


def _entropy(found: Tensor) -> Tensor:
    """Over the logarithm of the number of cells, [N, M] -> [N]; 1 for a single cell."""
    if found.shape[1] == 1:
        return torch.ones(len(found))
    entropy: Tensor = torch.special.entr(found.double()).sum(1)
    return entropy / math.log(found.shape[1])
