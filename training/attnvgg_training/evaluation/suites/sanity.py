"""Sanity checks: do the maps depend on what was learned?

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018. Weights are drawn anew from the
logits down, one block after the other (cascading), or one block at a time with the others trained
(independent); the maps of the changed network are compared with those of the trained one by
Spearman's rank correlation and by SSIM. A method whose maps stay alike does not show what was
learned. A block is drawn as it was before training, with batch norms at rest; u, which starts at
zero here, is drawn as noise of the trained u's size.

Data: a network trained on permuted labels, if it was given (`--beside permuted=`), beside a second
one trained on the right labels (`--beside attention#2=`), which says how alike two honest networks'
maps are.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from attnvgg_training.evaluation.applied import maps, resized
from attnvgg_training.evaluation.context import MAIN, Context
from attnvgg_training.evaluation.findings import Curves, Findings, Series, Table
from attnvgg_training.evaluation.methods import Method, methods
from attnvgg_training.evaluation.statistics import bootstrap
from attnvgg_training.evaluation.subject import Seeing, Subject
from attnvgg_training.models import build
from attnvgg_training.network import Network

PICTURES = 100
# Beyond the seeds of trainings: trained weights still resemble those that they started from.
ANEW = 1_000_000


def run(context: Context) -> Findings:
    """Cascading and independent randomisation; permuted labels where such a network was given."""
    names = blocks(context.main.network)
    ticks = ("trained", *names)
    curves = []
    tables = []
    for how in ("cascading", "independent"):
        found = context.part(f"sanity/{how}", partial(_randomised, context, names, how))
        for measure, title in (("rank", "rank correlation"), ("ssim", "SSIM")):
            series = tuple(_series(name, each[measure]) for name, each in found.items())
            note = (
                "Blocks drawn anew, from the logits down."
                if how == "cascading"
                else ("Each block alone drawn anew, the others as trained.")
            )
            curves.append(
                Curves(
                    f"{how}: {title} with the trained network's maps",
                    "",
                    title,
                    series,
                    ticks if how == "cascading" else names,
                    note,
                )
            )
        if how == "cascading":
            tables.append(_ends(found, len(context.chosen(PICTURES))))
    sentences = [_by_construction(context.main)]
    others = [
        s for role in ("permuted", f"{MAIN}") for s in context.of_role(role) if s.name != MAIN
    ]
    if others:
        tables.append(_data(context, others))
    return Findings(tuple(sentences), tuple(tables), tuple(curves))


def blocks(network: Network) -> tuple[str, ...]:
    """From the logits down: the head, the estimators from the deepest, the global branch, then the
    convolutions or stages from the last to the first."""
    names = ["head"]
    names += [f"attention.{level}" for level in reversed(network.level_names)]
    names += ["global_branch"] if getattr(network, "global_branch", None) is not None else []
    units = getattr(network, "units", None)
    if units is not None:
        names += [f"units.{index}" for index in reversed(range(len(units)))]
    else:
        names += [f"stages.{name}" for name in reversed(list(network.layers))] + ["stem"]
    return tuple(names)


def redrawn(subject: Subject, names: tuple[str, ...], seed: int) -> Subject:
    """The network with the blocks of these names as before training."""
    torch.manual_seed(ANEW + seed)
    fresh = build(subject.record.config.model, len(subject.record.labels))
    network = copy.deepcopy(subject.network)
    device = next(network.parameters()).device
    for name in names:
        network.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
        if name.startswith("attention."):
            _noise(network.get_submodule(name), subject.network.get_submodule(name))
    model = Seeing(network, subject.record.mean, subject.record.std).to(device).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return replace(subject, model=model)


def _noise(module: nn.Module, trained: nn.Module) -> None:
    u, before = getattr(module, "u", None), getattr(trained, "u", None)
    if isinstance(u, Tensor) and isinstance(before, Tensor):
        u.data.normal_(0, float(before.std()))


def _randomised(
    context: Context, names: tuple[str, ...], how: str
) -> dict[str, dict[str, list[list[float]]]]:
    """Method -> measure -> [stage][picture]; the first stage of cascading is the trained one."""
    before = dict(_all_maps(context, context.main))
    stages: list[tuple[str, ...]] = (
        [names[:count] for count in range(len(names) + 1)]
        if how == "cascading"
        else [(name,) for name in names]
    )
    found: dict[str, dict[str, list[list[float]]]] = {
        name: {"rank": [], "ssim": []} for name in before
    }
    for stage in stages:
        for name, after in _all_maps(context, redrawn(context.main, stage, context.seed)):
            rank, ssim = compared(before[name], after)
            found[name]["rank"].append(rank)
            found[name]["ssim"].append(ssim)
    return found


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


def compared(first: Tensor, second: Tensor) -> tuple[list[float], list[float]]:
    """Maps [N, h, w] of two networks -> Spearman's rank correlation and SSIM of each pair. Of a map
    that is the same everywhere there is no rank: 0. SSIM is of maps scaled by their maximum, at
    16x16 at least, so that its window of 7 fits."""
    ranks, similar = [], []
    side = max(16, first.shape[-1])
    fine = [scaled(resized(each, side, side)) for each in (first, second)]
    for index, (a, b) in enumerate(zip(first.flatten(1), second.flatten(1), strict=True)):
        flat = bool(a.min() == a.max() or b.min() == b.max())
        ranks.append(0.0 if flat else float(spearmanr(a.numpy(), b.numpy()).statistic))
        x, y = (each[index].numpy().astype(np.float64) for each in fine)
        similar.append(float(structural_similarity(x, y, data_range=1.0)))
    return ranks, similar


def scaled(found: Tensor) -> Tensor:
    """Maps [N, h, w] divided by their maximum; zeros stay zeros."""
    return found / found.amax((1, 2), keepdim=True).clamp_min(torch.finfo(found.dtype).tiny)


def _series(name: str, by_stage: list[list[float]]) -> Series:
    intervals = [bootstrap(stage) for stage in by_stage]
    return Series(
        name,
        tuple(float(index) for index in range(len(by_stage))),
        tuple(each.value for each in intervals),
        tuple(each.low for each in intervals),
        tuple(each.high for each in intervals),
    )


def _ends(found: dict[str, dict[str, list[list[float]]]], count: int) -> Table:
    rows = tuple(
        (name, bootstrap(each["rank"][1]), bootstrap(each["rank"][-1]), bootstrap(each["ssim"][-1]))
        for name, each in found.items()
    )
    columns = ("map", "rank, head drawn anew", "rank, everything", "SSIM, everything")
    note = f"{count} test pictures; 0 is unlike, 1 the same; 95 % bootstrap intervals."
    return Table("After cascading randomisation", columns, rows, note)


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


def _data(context: Context, others: list[Subject]) -> Table:
    def measure() -> dict[str, dict[str, list[float]]]:
        before = dict(_all_maps(context, context.main))
        return {
            other.name: {
                name: compared(before[name], after)[0]
                for name, after in _all_maps(context, other)
                if name in before and after.shape == before[name].shape
            }
            for other in others
        }

    found = context.part("sanity/data", measure)
    names = [name for name in found[others[0].name] if all(name in found[o.name] for o in others)]
    rows = tuple((n, *(bootstrap(found[other.name][n]) for other in others)) for n in names)
    columns = ("map", *(f"rank correlation with {other.name}" for other in others))
    note = (
        "The same pictures in networks trained apart. `permuted` learned labels that mean nothing: "
        "maps that are as like its maps as those of another seed do not show what was learned."
    )
    return Table("Networks trained apart", columns, rows, note)
