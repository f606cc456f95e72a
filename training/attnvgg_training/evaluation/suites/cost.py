"""Milliseconds a picture of every method, in one run beside the plain forward pass."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from attnvgg_training.evaluation.context import Context
from attnvgg_training.evaluation.findings import Findings, Table
from attnvgg_training.evaluation.methods import methods

BATCH, ROUNDS, WARM = 32, 9, 2


def run(context: Context) -> Findings:
    """The methods take turns, so that a busy machine slows all of them alike; medians."""
    where = f"{torch.get_num_threads()} threads, {context.device}"
    found = context.part("cost/all", partial(_measure, context), where=where)
    plain = found["forward pass"]["ms"]
    rows = tuple(
        (name, each["ms"], each["ms"] / plain, each["source"]) for name, each in found.items()
    )
    table = Table(
        "Time of a map",
        ("method", "ms a picture", "forward passes", "source"),
        rows,
        f"Medians of {ROUNDS} turns, {min(BATCH, len(context.test))} pictures at once, {where}; "
        "PyTorch, not the exported graph.",
    )
    levels = [name for name in found if name.startswith("attention ")]
    later = [n for n in found if n.startswith("grad-cam")]
    cheap = max(found[n]["ms"] for n in levels) / plain if levels else None
    dear = min(found[n]["ms"] for n in later) / plain
    sentences = [f"The cheapest Grad-CAM takes {dear:.1f} forward passes."]
    if cheap is not None:
        sentences.insert(0, f"Label and learned maps together take {cheap:.2f} forward passes.")
    return Findings(tuple(sentences), (table,))


def _measure(context: Context) -> dict[str, dict[str, object]]:
    indices = context.chosen(BATCH)
    pixels, targets = context.pixels(indices), context.targets(indices)
    model = context.main.model

    @torch.no_grad()
    def forward() -> None:
        model(pixels)

    runs: dict[str, Callable[[], object]] = {"forward pass": forward}
    sources = {"forward pass": "label only"}
    for method in [m for m in methods(context.main) if m.kind != "control"]:
        runs[method.name] = partial(method, pixels, targets)
        sources[method.name] = method.source
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(WARM + ROUNDS):
        for name, compute in runs.items():
            started = time.perf_counter()
            compute()
            _finish(context.device)
            if turn >= WARM:
                times[name].append(1000 * (time.perf_counter() - started) / len(indices))
    return {
        name: {"ms": float(np.median(each)), "source": sources[name]}
        for name, each in times.items()
    }


def _finish(device: torch.device) -> None:
    """Work on a GPU goes on after the call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
