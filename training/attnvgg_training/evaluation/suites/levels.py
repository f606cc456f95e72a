"""What does each level add, and what draws it to the border?

What is done to the network, not to the picture: a level's map made even, exchanged for another
picture's, its part of the descriptor replaced by the mean over the pictures ("without"), or that of
all other levels ("alone"). The weights stay as they were trained, so that a figure says what this
network relies on, not what one trained without the level could do.

The border: convolutions pad with zeros, which is an edge that no picture has. If attention along
the border comes from there, it follows the border when the picture is surrounded by its mirror
image; if it comes from what is to be seen there, it stays where it was.
"""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.attention import AttentionEstimator
from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Interval, Row, Table
from attnvgg_training.evaluation.subject import Subject
from attnvgg_training.network import Network

BORDER = 1000
CHUNK = 256
MORE = 1.2  # times an even look, from which on the border is called preferred


def run(context: Context) -> Findings:
    """Networks without attention have nothing to show."""
    if not context.main.maps:
        return Findings(("The network has no learned maps.",))
    wrong = context.part("levels/added", partial(_wrong, context))
    pictures = len(context.chosen())
    rows: list[Row] = [(how, _rate(each, pictures)) for how, each in wrong.items()]
    note = f"{pictures} test pictures; Wilson intervals; the weights are the same in every line."
    added = Table("What each level adds", ("what is changed", "error, %"), tuple(rows), note)
    border = context.part("levels/border", partial(_border, context), most=BORDER)
    return Findings(
        (*_added(context.main, wrong, pictures), *_drawn(border)),
        (added, _table(border, len(context.chosen(BORDER)))),
    )


@torch.inference_mode()
def _wrong(context: Context) -> dict[str, int]:
    """What is changed -> wrong answers."""
    network = context.main.network
    mean = _mean(context)
    found: dict[str, int] = {}
    for locals_, g, targets in _tapped(context):
        maps = network.attended(locals_, g).maps
        for how, vectors in changes(network, locals_, maps, mean):
            wrong = network.head(vectors).argmax(1) != targets
            found[how] = found.get(how, 0) + int(wrong.sum())
    return found


def changes(
    network: Network, locals_: dict[str, Tensor], maps: dict[str, Tensor], mean: dict[str, Tensor]
) -> Iterator[tuple[str, list[Tensor]]]:
    """What the head is given when something is changed, [B, C] a level, and what that is.

    maps: level -> [B, h, w]. mean: level -> [C], of its attended features.
    """
    names = network.level_names
    own = {n: weighed(network, n, locals_[n], maps[n]) for n in names}
    size = len(maps[names[0]])
    even = {n: weighed(network, n, locals_[n], flat(maps[n])) for n in names}
    none = {n: mean[n].expand(size, -1) for n in names}
    yield "nothing", list(own.values())
    for name in names:
        other = weighed(network, name, locals_[name], maps[name].roll(1, 0))
        yield f"{name}: its map even", list({**own, name: even[name]}.values())
        yield f"{name}: another picture's map", list({**own, name: other}.values())
        yield f"without {name}", list({**own, name: none[name]}.values())
        yield f"{name} alone", list({**none, name: own[name]}.values())
    yield "all maps even", list(even.values())


def flat(found: Tensor) -> Tensor:
    """Maps [B, h, w] -> even ones of the same sums."""
    return found.mean((1, 2), keepdim=True).expand_as(found)


def weighed(network: Network, name: str, local: Tensor, found: Tensor) -> Tensor:
    """The attended feature of l [B, C, h, w] under a map [B, h, w] of any origin: [B, C]."""
    lifted = estimator(network, name).lift(local).float()
    feature = torch.einsum("bchw,bhw->bc", lifted, found.float())
    return feature / found[0].numel() if network.normalisation == "sigmoid" else feature


def estimator(network: Network, name: str) -> AttentionEstimator:
    """Of the level of this name."""
    return cast(AttentionEstimator, network.attention[name])


def _mean(context: Context) -> dict[str, Tensor]:
    network = context.main.network
    total, seen = None, 0
    for locals_, g, targets in _tapped(context):
        each = network.attended(locals_, g).descriptor.double().sum(0)
        total = each if total is None else total + each
        seen += len(targets)
    assert total is not None  # a test split is never empty
    sizes = [estimator(network, name).lifted for name in network.level_names]
    parts = (total / seen).float().split(sizes)
    return dict(zip(network.level_names, parts, strict=True))


def _tapped(context: Context) -> Iterator[tuple[dict[str, Tensor], Tensor | None, Tensor]]:
    model = context.main.model
    for indices in context.chosen().split(CHUNK):
        images = model.normalised(context.pixels(indices))
        yield *model.network.tapped(images), context.targets(indices)


def _rate(wrong: int, pictures: int) -> Interval:
    rate = wilson(wrong, pictures)
    return Interval(100 * rate.rate, 100 * rate.low, 100 * rate.high)


def _added(subject: Subject, wrong: dict[str, int], pictures: int) -> list[str]:
    def error(how: str) -> str:
        return f"{100 * wrong[how] / pictures:.2f} %"

    said = [
        f"With all maps even, the weights as they are, the error is {error('all maps even')} "
        f"instead of {error('nothing')}."
    ]
    said += [
        f"Without {n} the error is {error(f'without {n}')}, with it alone {error(f'{n} alone')}."
        for n in subject.network.level_names
    ]
    return said


@torch.inference_mode()
def _border(context: Context) -> dict[str, dict[str, float]]:
    """Level -> what is on the outermost ring of cells, as it is and in mirrored surroundings."""
    network, size = context.main.network, context.main.size
    deepest = max(network.strides.values())
    wide = next(
        w for w in count(deepest, deepest) if 4 * w >= size and 2 * w % network.multiple == 0
    )
    plain: dict[str, list[Tensor]] = {name: [] for name in network.level_names}
    mirrored: dict[str, list[Tensor]] = {name: [] for name in network.level_names}
    for indices in context.chosen(BORDER).split(CHUNK):
        pixels = context.pixels(indices)
        around = F.pad(pixels, (wide,) * 4, mode="reflect")
        for kept, shown in ((plain, pixels), (mirrored, around)):
            for name, found in context.main.model.explain(shown).maps.items():
                if name in kept:
                    kept[name].append(found.cpu())
    result: dict[str, dict[str, float]] = {}
    for name in network.level_names:
        before, after = torch.cat(plain[name]), torch.cat(mirrored[name])
        first = ring(before.shape[-1], 0)
        old = ring(after.shape[-1], wide // network.strides[name])
        result[name] = {
            "cells": first.double().mean().item(),
            "maxima": first.flatten()[before.flatten(1).argmax(1)].double().mean().item(),
            "border": over_even(before, first),
            "new border": over_even(after, ring(after.shape[-1], 0)),
            "old border": over_even(after, old),
        }
    return result


def ring(side: int, depth: int) -> Tensor:
    """bool [side, side]: the cells `depth` away from the outermost."""
    place = torch.arange(side)
    away = torch.minimum(place, side - 1 - place)
    return torch.minimum(away.unsqueeze(0), away.unsqueeze(1)) == depth


def over_even(found: Tensor, where: Tensor) -> float:
    """Mean attention of maps [N, h, w] in these cells, bool [h, w], over that of all cells."""
    return float(found[:, where].mean() / found.mean())


def _table(border: dict[str, dict[str, float]], pictures: int) -> Table:
    columns = (
        "level",
        "cells on the border, %",
        "maxima there, %",
        "attention there",
        "in mirrored surroundings: at the new border",
        "at the old one",
    )
    rows = tuple(
        (
            name,
            100 * each["cells"],
            100 * each["maxima"],
            each["border"],
            each["new border"],
            each["old border"],
        )
        for name, each in border.items()
    )
    note = f"{pictures} test pictures; attention as times an even look."
    return Table("Attention along the border", columns, rows, note)


def _drawn(border: dict[str, dict[str, float]]) -> list[str]:
    said = []
    for name, each in border.items():
        if each["border"] < MORE:
            continue
        follows, stays = each["new border"] >= MORE, each["old border"] >= MORE
        if follows and not stays:
            why = "it follows the border into mirrored surroundings: an effect of padding"
        elif stays and not follows:
            why = "it stays where it was in mirrored surroundings: something is to be seen there"
        else:
            why = "mirrored surroundings do not tell why"
        said.append(
            f"{name} looks at the border {each['border']:.1f} times as much as evenly; {why}."
        )
    return said
