"""Judges the graphs that were written: against PyTorch, and on pictures held out."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

import torch

from attnvgg_bundle.manifest import Input
from attnvgg_export import golden, held_out, parity
from attnvgg_export.formats import FORMATS, limit
from attnvgg_export.graph import ExportGraph
from attnvgg_export.held_out import Runner
from attnvgg_export.writers import Written, reference
from attnvgg_training.data import Dataset, Split


def compare(
    whole: ExportGraph, light: ExportGraph, written: Mapping[str, Written], spec: Input
) -> dict[str, Any]:
    """Compares every format with PyTorch on photos and random pictures: with the whole network,
    and at other sizes, where its dead branch may have pooled everything away, with the light one.
    """
    images, sizes = golden.pictures(spec, count=max(parity.BATCHES)), parity.other_sizes(spec)
    # From the end too, so that every batch size meets photos and random pixels.
    batches = [image for n in parity.BATCHES for image in (images[:n], images[-n:])]
    expected = [reference(whole, image) for image in batches]
    others = [golden.pictures(spec, 11, size)[::5] for size in sizes]
    expected += [reference(light, image) for image in others]
    batches += others
    report: dict[str, Any] = {}
    for name, each in written.items():
        allowed = limit(name, whole.model.normalisation)
        differences: list[parity.Difference] = []
        for called, runner in each.runners.items():
            for image, right in zip(batches, expected, strict=True):
                batch, height, width, _ = image.shape
                where = f"{called} at batch {batch} of {height}x{width}"
                differences += parity.compare(right, runner(image), allowed, where)
        report[name] = parity.report(differences, allowed, sizes)
    versions = {n: metadata.version(n) for n in ("torch", "onnx", "onnxscript", "onnxruntime")}
    return {**report, "versions": versions}


def hold_out(written: Mapping[str, Written], dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Scores the ONNX formats on the test split; raises HeldOutError where one loses too much."""
    runners: dict[str, Runner] = {n: w.runners[n] for n, w in written.items() if n != "torchscript"}
    scores = held_out.measure(runners, "onnx", _batches(dataset.test))
    for name, score in scores.items():
        allowed = FORMATS[name].held_out
        if allowed is not None:
            held_out.check(name, score, scores["onnx"], allowed)
    return scores


def _batches(split: Split) -> Iterator[held_out.Batch]:
    """A split may be read as it is needed: never all of it at once."""
    for indices in torch.arange(len(split)).split(held_out.BATCH):
        yield split.pixels(indices).numpy(), split.targets[indices].numpy()


def metrics(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy of the exported graphs, for the manifest's metrics."""
    if not scores:
        return {}
    first = scores["onnx"]
    others = {
        f"exported_test_accuracy_{name}": score["accuracy"]
        for name, score in scores.items()
        if name != "onnx"
    }
    return {
        "exported_test_accuracy": first["accuracy"],
        "exported_test_pictures": first["pictures"],
        **others,
    }


def with_scores(report: dict[str, Any], scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """parity.json: what was found on held-out pictures goes beside the differences of a format."""
    for name, score in scores.items():
        allowed = FORMATS[name].held_out
        if allowed is not None:
            lost = scores["onnx"]["accuracy"] - score["accuracy"]
            report[name]["held_out"] = {**score, "loss": lost, "allowed": asdict(allowed)}
    return report
