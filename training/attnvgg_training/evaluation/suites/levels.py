"""What does each level add, and what draws it to the border?

What is done to the network, not to the picture: a level's map made even, exchanged for another
picture's (of another class, where there are several), its part of the descriptor replaced by the
mean over the pictures ("without"), or that of all other levels ("alone"). The weights stay as they
were trained, so that a figure says what this network relies on, not what one trained without the
level could do.

The border: convolutions pad with zeros, which is an edge that no picture has. If attention along
the border comes from there, it follows the border when the picture is surrounded by its mirror
image; if it comes from what is to be seen there, it stays where it was. A ring of cells is called
preferred where the attention on it, as times an even look, has a 95 % interval over the pictures
that lies above 1.1, and not preferred where the interval lies below. Padding is what draws a level
to the border if it prefers the border of the picture and the new one, and not the old one; what is
to be seen there, if it prefers the border of the picture and the old one, and not the new one. In
all other cases the mirrored surroundings do not tell.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from attnvgg_training.attention import AttentionEstimator
from attnvgg_training.evaluation.accuracy import wilson
from attnvgg_training.evaluation.applied import partners, shares, tops
from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Interval, Row, Table
from attnvgg_training.evaluation.statistics import bootstrap, paired, told
from attnvgg_training.network import Network

BORDER = 1000
PREFERRED = 1.1  # times an even look
ANOTHER = ": another picture's map"
RINGS = ("border", "new border", "old border")
Wrong = dict[str, NDArray[np.float64]]  # 0 or 1 of each picture


def run(context: Context) -> Findings:
    """Networks without attention have nothing to show."""
    if not context.main.maps:
        return Findings(("The network has no learned maps.",))
    wrong = {
        how: np.array(each, dtype=float)
        for how, each in context.part("levels/added", partial(_wrong, context)).items()
    }
    border = context.part("levels/border", partial(_border, context), most=BORDER)
    classes = len(context.targets(context.chosen()).unique())
    return Findings(
        (*_added(context.main.network.level_names, wrong), *_drawn(border)),
        (_changed(wrong, classes), _table(border)),
    )


def _changed(wrong: Wrong, classes: int) -> Table:
    before = wrong["nothing"]
    rows: list[Row] = [("nothing", _rate(before), None)]
    rows += [
        (how, _rate(each), _more(each, before)) for how, each in wrong.items() if how != "nothing"
    ]
    other = "of another class" if classes > 1 else "of the same class, as there is one only"
    note = (
        f"{len(before)} test pictures; Wilson intervals, and 95 % bootstrap intervals of the "
        "differences on the same pictures; the weights are the same in every line. Another picture "
        f"is one {other}, drawn for each."
    )
    columns = ("what is changed", "error, %", "more than with nothing changed, points")
    return Table("What each level adds", columns, tuple(rows), note)


@torch.inference_mode()
def _wrong(context: Context) -> dict[str, list[int]]:
    """What is changed -> of each chosen picture, whether the answer is wrong, 0 or 1."""
    network, chosen = context.main.network, context.chosen()
    mean, maps = _means_and_maps(context)
    partner = partners(context.targets(chosen), context.seed).split(context.batch_size)
    own = {name: each.split(context.batch_size) for name, each in maps.items()}
    found: dict[str, list[int]] = {}
    for number, (locals_, _, targets) in enumerate(_tapped(context)):
        here = {name: each[number].to(context.device) for name, each in own.items()}
        others = {n: each[partner[number]].to(context.device) for n, each in maps.items()}
        for how, vectors in changes(network, locals_, here, mean, others):
            wrong = network.head(vectors).argmax(1) != targets
            found.setdefault(how, []).extend(wrong.int().tolist())
    alone = len(chosen) == 1  # without another picture
    return {how: each for how, each in found.items() if not (alone and how.endswith(ANOTHER))}


def changes(
    network: Network,
    locals_: dict[str, Tensor],
    maps: dict[str, Tensor],
    mean: dict[str, Tensor],
    others: dict[str, Tensor],
) -> Iterator[tuple[str, list[Tensor]]]:
    """What the head is given when something is changed, [B, C] a level, and what that is.

    maps, others: level -> [B, h, w], the pictures' own and other pictures'. mean: level -> [C], of
    its attended features.
    """
    names = network.level_names
    own = {n: weighed(network, n, locals_[n], maps[n]) for n in names}
    size = len(maps[names[0]])
    even = {n: weighed(network, n, locals_[n], flat(maps[n])) for n in names}
    none = {n: mean[n].expand(size, -1) for n in names}
    yield "nothing", list(own.values())
    for name in names:
        other = weighed(network, name, locals_[name], others[name])
        yield f"{name}: its map even", list({**own, name: even[name]}.values())
        yield f"{name}{ANOTHER}", list({**own, name: other}.values())
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


def _means_and_maps(context: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Level -> the mean of its attended features [C], and its maps [N, h, w] on the CPU, of all
    chosen pictures."""
    network = context.main.network
    total: Tensor | float = 0.0
    maps: dict[str, list[Tensor]] = {name: [] for name in network.level_names}
    for locals_, g, _ in _tapped(context):
        found = network.attended(locals_, g)
        total = total + found.descriptor.double().sum(0)
        for name, each in found.maps.items():
            maps[name].append(each.cpu())
    assert isinstance(total, Tensor)  # a test split is never empty
    sizes = [estimator(network, name).lifted for name in network.level_names]
    parts = (total / len(context.chosen())).float().split(sizes)
    gathered = {name: torch.cat(each) for name, each in maps.items()}
    return dict(zip(network.level_names, parts, strict=True)), gathered


def _tapped(context: Context) -> Iterator[tuple[dict[str, Tensor], Tensor | None, Tensor]]:
    model = context.main.model
    for indices in context.chosen().split(context.batch_size):
        images = model.normalised(context.pixels(indices))
        yield *model.network.tapped(images), context.targets(indices)


def _rate(wrong: NDArray[np.float64]) -> Interval:
    rate = wilson(int(wrong.sum()), len(wrong))
    return Interval(100 * rate.rate, 100 * rate.low, 100 * rate.high)


def _more(wrong: NDArray[np.float64], before: NDArray[np.float64]) -> Interval:
    return paired(100 * wrong, 100 * before)


def _added(names: Sequence[str], wrong: Wrong) -> list[str]:
    """names: of the levels."""

    def error(how: str) -> str:
        more = _more(wrong[how], wrong["nothing"])
        verdict = told(more, "less than", "more than", "not to be told apart from")
        amount = f"{more.value:+.2f} points, {more.low:+.2f} to {more.high:+.2f}"
        return f"the error is {100 * wrong[how].mean():.2f} %, {verdict} the network's ({amount})"

    said = [
        f"As it is, the network's error is {100 * wrong['nothing'].mean():.2f} %. With all maps "
        f"even, the weights as they are, {error('all maps even')}."
    ]
    for name in names:
        said.append(f"Without {name} {error(f'without {name}')}.")
        said.append(f"With {name} alone {error(f'{name} alone')}.")
        if f"{name}{ANOTHER}" in wrong:
            said.append(f"With another picture's map at {name} {error(f'{name}{ANOTHER}')}.")
    return said


@torch.inference_mode()
def _border(context: Context) -> dict[str, dict[str, Any]]:
    """Level -> what is on the outermost ring of cells, as it is and in mirrored surroundings: of
    each picture, but for `cells`."""
    network, size = context.main.network, context.main.size
    deepest = max(network.strides.values())
    wide = next(
        w for w in count(deepest, deepest) if 4 * w >= size and 2 * w % network.multiple == 0
    )
    plain: dict[str, list[Tensor]] = {name: [] for name in network.level_names}
    mirrored: dict[str, list[Tensor]] = {name: [] for name in network.level_names}
    for indices in context.chosen(BORDER).split(context.batch_size):
        pixels = context.pixels(indices)
        around = F.pad(pixels, (wide,) * 4, mode="reflect")
        for kept, shown in ((plain, pixels), (mirrored, around)):
            for name, found in context.main.model.explain(shown).maps.items():
                if name in kept:
                    kept[name].append(found.cpu())
    result: dict[str, dict[str, Any]] = {}
    for name in network.level_names:
        before, after = torch.cat(plain[name]), torch.cat(mirrored[name])
        first = ring(before.shape[-1], 0)
        old = ring(after.shape[-1], wide // network.strides[name])
        result[name] = {
            "cells": first.double().mean().item(),
            "maxima": tops(before)[:, first].sum(1).tolist(),
            "border": over_even(before, first).tolist(),
            "new border": over_even(after, ring(after.shape[-1], 0)).tolist(),
            "old border": over_even(after, old).tolist(),
        }
    return result


def ring(side: int, depth: int) -> Tensor:
    """bool [side, side]: the cells `depth` away from the outermost."""
    place = torch.arange(side)
    away = torch.minimum(place, side - 1 - place)
    return torch.minimum(away.unsqueeze(0), away.unsqueeze(1)) == depth


def over_even(found: Tensor, where: Tensor) -> Tensor:
    """Of each of the maps [N, h, w] the mean in these cells, bool [h, w], over that of all: [N]; 1
    for a map of zeros."""
    even = shares(found)
    return even[:, where].mean(1) * found[0].numel()


def _table(border: dict[str, dict[str, Any]]) -> Table:
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
            bootstrap(100 * np.array(each["maxima"])),
            *(bootstrap(each[where]) for where in RINGS),
        )
        for name, each in border.items()
    )
    pictures = len(next(iter(border.values()))["border"])
    note = f"{pictures} test pictures; attention as times an even look; 95 % bootstrap intervals."
    return Table("Attention along the border", columns, rows, note)


def _drawn(border: dict[str, dict[str, Any]]) -> list[str]:
    """What draws the levels that prefer the border; the rule is in the docstring of the file."""
    said = []
    for name, each in border.items():
        here, new, old = (bootstrap(each[where]) for where in RINGS)
        if _preferred(here) != "yes":
            continue
        why = {
            ("yes", "no"): "it follows the border: an effect of padding",
            ("no", "yes"): "it stays where it was: something is to be seen there",
        }.get((_preferred(new), _preferred(old)), "that does not tell why")
        said.append(
            f"{name} looks at the border {_times(here)} as much as evenly; in mirrored "
            f"surroundings {_times(new)} at the new border and {_times(old)} at the old one: {why}."
        )
    return said


def _preferred(ratio: Interval) -> str:
    less_one = Interval(*(x - PREFERRED for x in (ratio.value, ratio.low, ratio.high)))
    return told(less_one, "no", "yes", "perhaps")


def _times(ratio: Interval) -> str:
    return f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
