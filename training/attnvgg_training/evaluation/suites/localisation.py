"""Do the maps lie on the object? On photos whose object is known, and on mosaics of pictures.

Photos: the share of a map inside the object over the object's share of the area (1 is an even
look), and the pointing game of Zhang et al., "Top-down Neural Attention by Excitation Backprop",
ECCV 2016: whether the maximum lies inside. Methods that ask about a class ask about the one
answered.

Mosaics: four pictures side by side, each at the size the network was trained at, so that the whole
is seen at twice that. One has a label that the network knows among three that have none; and, to
tell who knows the class asked about, four of four different labels.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnvgg_bundle.preprocess import PictureError, decode, fit
from attnvgg_training.data import SUFFIXES
from attnvgg_training.errors import DataError
from attnvgg_training.evaluation.applied import chances, maps, peaks, resized, shares
from attnvgg_training.evaluation.context import MAIN, Context, as_pixels
from attnvgg_training.evaluation.findings import Findings, Row, Table
from attnvgg_training.evaluation.methods import Method, learned, methods
from attnvgg_training.evaluation.statistics import bootstrap, paired
from attnvgg_training.evaluation.subject import Subject

MOSAICS = 300


@dataclass(frozen=True)
class Mosaics:
    """pixels: [N, 3, 2S, 2S]. quarter: of the picture asked about, int64 [N], 0 to 3, row by row.
    targets: its class, [N]."""

    pixels: Tensor
    quarter: Tensor
    targets: Tensor


def run(context: Context) -> Findings:
    """Photos where --masks is given, mosaics with distractors where --pictures localisation is,
    mosaics of four labels where the network knows as many."""
    everything = methods(context.main)
    tables, sentences = [], []
    if context.masks is not None:
        table, said = _photos(context, everything)
        tables += [table, *_seeds(context)]
        sentences += said
    if "localisation" in context.others:
        table, said = _mosaics(context, everything)
        tables.append(table)
        sentences += said
    if len(context.main.record.labels) >= 4:
        table, said = _four(context, everything)
        tables.append(table)
        sentences += said
    tables.append(_sparseness(context, everything))
    return Findings(tuple(sentences), tuple(tables))


def _photos(context: Context, everything: list[Method]) -> tuple[Table, list[str]]:
    found = {
        m.name: context.part(
            f"localisation/photos {m.name}", partial(_on_objects, context, context.main, m)
        )
        for m in everything
    }
    rows = tuple(
        (
            name,
            bootstrap(each["ratio"], "median"),
            100 * np.mean(each["hit"]).item(),
            *_bounds(each["hit"]),
        )
        for name, each in found.items()
    )
    columns = ("map", "inside over area, median", "maximum inside, %", "from", "to")
    count = len(context.photos)
    note = f"{count} photos; 95 % bootstrap intervals; `centre` points at the middle."
    sentences = _against_centre({name: np.array(each["hit"]) for name, each in found.items()})
    return Table("Photos with object masks", columns, rows, note), sentences


def _on_objects(context: Context, subject: Subject, method: Method) -> dict[str, list[float]]:
    """`ratio`: share inside over area; `hit`: whether the maximum is inside; of each photo."""
    photos = [masked for _, masked in context.photos]
    pixels = as_pixels(torch.from_numpy(np.stack([each.pixels for each in photos])))
    pixels = pixels.to(context.device)
    asked = chances(subject, pixels).argmax(1).to(context.device)
    found = maps(method, pixels, asked, context.batch_size)
    height, width = found.shape[1:]
    cover = torch.from_numpy(np.stack([each.coverage(height, width) for each in photos]))
    inside = (shares(found) * cover).sum((1, 2))
    hits = [float(each.holds(*at)) for each, at in zip(photos, peaks(found).tolist(), strict=True)]
    return {"ratio": (inside / cover.mean((1, 2))).tolist(), "hit": hits}


def _seeds(context: Context) -> list[Table]:
    """The learned maps of every network called attention, where there are several."""
    networks = context.of_role(MAIN)
    if len(networks) < 2:
        return []
    rows: list[Row] = []
    for name in context.main.maps:
        for subject in [each for each in networks if name in each.maps]:
            method = next(m for m in learned(subject) if m.name == f"attention {name}")
            part = f"localisation/seeds {subject.name} {name}"
            each = context.part(part, partial(_on_objects, context, subject, method))
            hit = 100 * float(np.mean(each["hit"]))
            rows.append((name, subject.name, bootstrap(each["ratio"], "median"), hit))
    columns = ("map", "network", "inside over area, median", "maximum inside, %")
    note = "The same photos in networks that were trained alike with other seeds."
    return [Table("Learned maps, seed by seed", columns, tuple(rows), note)]


def _bounds(hits: list[float]) -> tuple[float, float]:
    interval = bootstrap(hits)
    return 100 * interval.low, 100 * interval.high


def _against_centre(hits: dict[str, np.ndarray]) -> list[str]:
    said = []
    for name in [each for each in hits if each.startswith("attention ")]:
        more = paired(hits[name], hits["centre"])
        amount = f"{100 * more.value:+.0f} points ({100 * more.low:+.0f} to {100 * more.high:+.0f})"
        if more.high < 0:
            said.append(f"{name} points at the object less often than the centre does: {amount}.")
        elif more.low > 0:
            said.append(f"{name} points at the object more often than the centre does: {amount}.")
        else:
            said.append(f"{name} points at the object about as often as the centre: {amount}.")
    return said


def _mosaics(context: Context, everything: list[Method]) -> tuple[Table, list[str]]:
    made = with_distractors(context, Path(context.others["localisation"]))
    found = {
        m.name: context.part(f"localisation/mosaics {m.name}", partial(_quarters, context, m, made))
        for m in everything
    }
    right = chances(context.main, made.pixels).argmax(1) == made.targets.cpu()
    rows = tuple(
        (name, bootstrap(100 * np.array(each["mass"])), bootstrap(100 * np.array(each["hit"])))
        for name, each in found.items()
    )
    note = (
        f"{len(made.quarter)} mosaics, of which the network names the labelled picture's class in "
        f"{100 * right.float().mean():.0f} %; 25 % is chance."
    )
    table = Table(
        "One labelled picture among three from outside the labels",
        ("map", "in the right quarter, %", "maximum there, %"),
        rows,
        note,
    )
    learned = {n: np.mean(e["mass"]) for n, e in found.items() if n.startswith("attention ")}
    others = {n: np.mean(e["mass"]) for n, e in found.items() if not n.startswith("attention ")}
    said = []
    if learned:
        best, rival = max(learned, key=learned.__getitem__), max(others, key=others.__getitem__)
        verdict = "more" if learned[best] > others[rival] else "less"
        said.append(
            f"In mosaics {best} puts {100 * learned[best]:.0f} % on the labelled picture, "
            f"{verdict} than the best other method ({rival}, {100 * others[rival]:.0f} %); 25 % is "
            "chance."
        )
    return table, said


def _four(context: Context, everything: list[Method]) -> tuple[Table, list[str]]:
    made = of_four_labels(context)
    found = {
        m.name: context.part(f"localisation/four {m.name}", partial(_quarters, context, m, made))
        for m in everything
        if m.kind != "control"
    }
    rows = tuple(
        (name, bootstrap(100 * np.array(each["mass"])), bootstrap(100 * np.array(each["hit"])))
        for name, each in found.items()
    )
    table = Table(
        "Four labelled pictures, each asked about in turn",
        ("map", "in the right quarter, %", "maximum there, %"),
        rows,
        f"{len(made.quarter) // 4} mosaics, four questions each. A map that does not depend on the "
        "class asked about has 25 % by construction.",
    )
    blind = [m.name for m in everything if m.kind == "learned"]
    said = [
        "The learned maps do not depend on the class asked about: of a mosaic of four labels they "
        "put 25 % on the one in question by construction. They say where the network looked, not "
        "what speaks for a class."
    ]
    return table, said if blind else []


def _quarters(context: Context, method: Method, made: Mosaics) -> dict[str, list[float]]:
    """Share and maximum of each map in the quarter in question."""
    found = shares(maps(method, made.pixels, made.targets, context.batch_size))
    fine = resized(found, *(max(2, side + side % 2) for side in found.shape[1:]))
    fine = shares(fine)
    quarter = made.quarter.cpu()
    blocks = fine.unflatten(1, (2, -1)).unflatten(3, (2, -1)).sum((2, 4)).flatten(1)  # [N, 4]
    at = peaks(found)
    pointed = 2 * (at[:, 0] > 0.5).long() + (at[:, 1] > 0.5).long()
    undecided = (at == 0.5).any(1)  # in the middle, of all quarters alike
    hits = torch.where(undecided, 0.25, (pointed == quarter).float())
    mass = blocks.gather(1, quarter.unsqueeze(1)).squeeze(1)
    return {"mass": mass.tolist(), "hit": hits.tolist()}


def with_distractors(context: Context, folder: Path) -> Mosaics:
    """One test picture and three from `folder`, which holds pictures of nothing that has a label.

    Raises:
        DataError: the folder has fewer than three pictures, or one cannot be read.
    """
    generator = torch.Generator().manual_seed(context.seed)
    chosen = context.chosen(MOSAICS)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < 3:
        raise DataError(f"--pictures localisation={folder} holds {len(paths)} pictures; it needs 3")
    quarter = torch.randint(4, (len(chosen),), generator=generator)
    mosaics = []
    for index, place in zip(chosen, quarter.tolist(), strict=True):
        picks = torch.randint(len(paths), (3,), generator=generator).tolist()
        parts = [_read(context, paths[pick]) for pick in picks]
        parts.insert(place, context.pixels(index.unsqueeze(0))[0])
        mosaics.append(tiled(parts))
    return Mosaics(torch.stack(mosaics), quarter, context.targets(chosen))


def of_four_labels(context: Context) -> Mosaics:
    """Mosaics of four different classes; each is there four times, asked about each of them."""
    generator = torch.Generator().manual_seed(context.seed + 1)
    targets = context.targets(torch.arange(len(context.test))).cpu()
    classes = [torch.nonzero(targets == k).flatten() for k in targets.unique()]
    if len(classes) < 4:
        raise DataError(f"the test split shows {len(classes)} classes; mosaics of four need four")
    pixels, asked = [], []
    mosaics = max(1, len(context.chosen(MOSAICS)) // 4)
    for _ in range(mosaics):
        four = torch.randperm(len(classes), generator=generator)[:4].tolist()
        picks = [
            classes[k][torch.randint(len(classes[k]), (1,), generator=generator)] for k in four
        ]
        mosaic = tiled([context.pixels(pick)[0] for pick in picks])
        pixels += [mosaic] * 4
        asked += [int(targets[pick]) for pick in picks]
    quarter = torch.arange(4).repeat(mosaics)
    return Mosaics(torch.stack(pixels), quarter, torch.tensor(asked, device=context.device))


def tiled(parts: list[Tensor]) -> Tensor:
    """Four pictures [3, S, S], row by row -> [3, 2S, 2S]."""
    return torch.cat([torch.cat(parts[:2], dim=2), torch.cat(parts[2:], dim=2)], dim=1)


def _read(context: Context, path: Path) -> Tensor:
    config, size = context.main.record.config.data, context.main.size
    try:
        fitted = fit(decode(path.read_bytes()), size, size, config.geometry, config.filter)
    except (OSError, PictureError) as error:
        raise DataError(f"{path}: {error}") from error
    return as_pixels(torch.from_numpy(fitted.pixels.copy()).unsqueeze(0))[0].to(context.device)


def _sparseness(context: Context, everything: list[Method]) -> Table:
    """Of maps on single test pictures."""
    indices = context.chosen(MOSAICS)
    pixels, targets = context.pixels(indices), context.targets(indices)

    def measure(method: Method) -> dict[str, float]:
        found = shares(maps(method, pixels, targets, context.batch_size)).flatten(1)
        return {
            "gini": gini(found).mean().item(),
            "entropy": _entropy(found).mean().item(),
            "cells": found.shape[1],
        }

    rows = []
    for method in [m for m in everything if m.kind != "control"]:
        each = context.part(f"localisation/sparse {method.name}", partial(measure, method))
        rows.append((method.name, each["cells"], each["gini"], each["entropy"]))
    return Table(
        "Sparseness",
        ("map", "cells", "Gini index", "entropy, part of the even one's"),
        tuple(rows),
        f"Means over {len(indices)} test pictures. Gini index (Hurley and Rickard, 2009): 0 where "
        "all cells are alike, towards 1 where one has everything.",
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
