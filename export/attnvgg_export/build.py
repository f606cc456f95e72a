"""Makes a bundle of a checkpoint, or leaves nothing behind.

Everything is written into a folder beside the bundle's place, compared, and renamed there; the
manifest is written last.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import File, Input, Level, Manifest, Output, Sizes
from attnvgg_export import card, golden, held_out, parity, quantize, writers
from attnvgg_export.errors import FormatError, OutputError
from attnvgg_export.formats import FORMATS, limit
from attnvgg_export.graph import ExportGraph, folded, without_dead_weight
from attnvgg_export.writers import Runner, Written, reference
from attnvgg_training import checkpoint, data
from attnvgg_training.checkpoint import Record
from attnvgg_training.models import gmacs_of, parameters
from attnvgg_training.vgg import AttentionVGG

DEFAULT_FORMATS = ("onnx", "torchscript")
LARGEST = 8  # times the input size; a bound for what a server must be ready for


def build(
    source: Path,
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Path | None = None,
    notes: str = "",
) -> Manifest:
    """Exports the checkpoint `source` to the bundle `out`, a folder NAME/VERSION.

    Args:
        formats: of FORMATS; onnx must be among them.
        pictures: a data set whose test split the exported graphs are then scored on, and with whose
            training split int8 is calibrated.
        notes: Markdown that goes into the model card.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        DataError: `pictures` cannot be read, or has other classes than the checkpoint.
        FormatError: a format is unknown, or lacks what it is made of.
        OutputError: `out` exists, is badly named, or cannot be written.
        ParityError: an exported graph differs from the checkpoint; nothing is written.
        IntegrityError: what lies on the disk is not what was to be written.
    """
    _check_formats(formats, pictures)
    name, version = _name_and_version(out)
    model, record = checkpoint.load_model(source)
    cut = without_dead_weight(model)
    whole, light, graph = (
        ExportGraph(network, record.mean, record.std).eval()
        for network in (model, cut, folded(cut))
    )
    spec = _input(record, cut)
    with _folder(out) as folder:
        dataset = data.load(pictures, record.config.data, record.labels) if pictures else None
        calibration = quantize.sample(dataset.train.images.numpy()) if dataset else None
        provenance = _provenance(source, record, model, cut)
        head = {"name": name, "version": version, **_metadata(record, spec, provenance)}
        written = writers.write(graph, spec, formats, folder, head, calibration)
        report = _check(whole, light, written, spec)
        scores = _hold_out(written, dataset) if dataset else {}
        outputs = _outputs(graph, spec)
        bundle = Manifest(
            name=name,
            version=version,
            labels=record.labels,
            input=spec,
            outputs=outputs,
            levels=_levels(graph, outputs),
            files=_files(folder),  # so far; the card lists the graphs
            metrics={**record.metrics, **_exported(scores)},
            provenance={**provenance, "graphs": {n: w.facts for n, w in written.items()}},
            parity=_with_scores(report, scores),
        )
        _write_golden(whole, spec, folder)
        _write_records(bundle, source, notes, folder)
        _finish(bundle, folder)
        return golden.verify(folder)[0]


def _check_formats(formats: Sequence[str], pictures: Path | None) -> None:
    given = ",".join(formats)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or "onnx" not in formats or len(set(formats)) < len(formats):
        others = ", ".join(name for name in FORMATS if name != "onnx")
        raise FormatError(f"--formats is {given}; it must be onnx and may add {others}, each once")
    if "int8" in formats and pictures is None:
        raise FormatError(
            f"--formats is {given}, but there is no --data: int8 is calibrated on the training "
            "pictures of a data set and judged on its test pictures"
        )


def _name_and_version(out: Path) -> tuple[str, str]:
    name, version = out.absolute().parts[-2:]
    if not version.isdecimal():
        raise OutputError(
            f"--out is {out}; it must end in NAME/VERSION with a whole number for VERSION, "
            f"such as models/{version}/1"
        )
    return name, version


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when all went well and vanishes when not."""
    if out.exists():
        raise OutputError(f"--out {out} exists; a bundle is never changed, use the next version")
    partial = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    made = [p for p in out.absolute().parents if not p.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _input(record: Record, model: AttentionVGG) -> Input:
    """The input spec; the pools allow every size of which they divide both sides."""
    size = record.config.data.image_size
    sizes = Sizes(model.multiple, LARGEST * size, model.multiple)
    return Input(size, size, record.config.data.geometry, record.config.data.filter, sizes=sizes)


def _metadata(record: Record, spec: Input, provenance: dict[str, Any]) -> dict[str, Any]:
    """What the graph's file says of itself, beside its name and version."""
    return {
        "labels": record.labels,
        "input": asdict(spec),
        "license": Manifest.license,
        "checkpoint_sha256": provenance["checkpoint_sha256"],
    }


def _check(
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
        allowed = limit(name, {whole.model.normalisation})
        differences: list[parity.Difference] = []
        for called, runner in each.runners.items():
            for image, right in zip(batches, expected, strict=True):
                batch, height, width, _ = image.shape
                where = f"{called} at batch {batch} of {height}x{width}"
                differences += parity.compare(right, runner(image), allowed, where)
        report[name] = parity.report(differences, allowed, sizes)
    versions = {n: metadata.version(n) for n in ("torch", "onnx", "onnxscript", "onnxruntime")}
    return {**report, "versions": versions}


def _hold_out(written: Mapping[str, Written], dataset: data.Dataset) -> dict[str, dict[str, Any]]:
    """Scores the ONNX formats on the test split; raises HeldOutError where one loses too much."""
    runners: dict[str, Runner] = {n: w.runners[n] for n, w in written.items() if n != "torchscript"}
    images, targets = dataset.test.images.numpy(), dataset.test.targets.numpy()
    scores = held_out.measure(runners, "onnx", images, targets)
    for name, score in scores.items():
        allowed = FORMATS[name].held_out
        if allowed is not None:
            held_out.check(name, score, scores["onnx"], allowed)
    return scores


def _exported(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
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


def _with_scores(report: dict[str, Any], scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """parity.json: what was found on held-out pictures goes beside the differences of a format."""
    for name, score in scores.items():
        allowed = FORMATS[name].held_out
        if allowed is not None:
            lost = scores["onnx"]["accuracy"] - score["accuracy"]
            report[name]["held_out"] = {**score, "loss": lost, "allowed": asdict(allowed)}
    return report


def _write_golden(whole: ExportGraph, spec: Input, folder: Path) -> None:
    image = golden.pictures(spec)
    arrays: dict[str, Any] = {"image": image, **reference(whole, image)}
    np.savez_compressed(folder / golden.FILE_NAME, **arrays)


def _write_records(bundle: Manifest, source: Path, notes: str, folder: Path) -> None:
    """parity.json, the model card, and the run's log where it lies beside the checkpoint."""
    log = source.resolve().parent / "metrics.csv"
    if log.is_file():
        shutil.copyfile(log, folder / log.name)
    report = json.dumps(bundle.parity, indent=2) + "\n"
    (folder / "parity.json").write_text(report, encoding="utf-8")
    text = card.model_card(bundle, notes)
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def _outputs(graph: ExportGraph, spec: Input) -> tuple[Output, ...]:
    blank: NDArray[np.uint8] = np.zeros((1, spec.height, spec.width, 3), np.uint8)
    return tuple(
        Output(name, ("batch", *values.shape[1:]))
        for name, values in reference(graph, blank).items()
    )


def _levels(graph: ExportGraph, outputs: Sequence[Output]) -> tuple[Level, ...]:
    grids = {output.name: output.shape[1:] for output in outputs}
    levels, kind = [], graph.model.normalisation
    for conv in graph.model.levels:
        height, width = (int(side) for side in grids[f"attention_conv{conv}"])
        stride = graph.model.trunk.stride(conv)
        levels.append(Level(f"conv{conv}", (height, width), (stride, stride), kind))
    return tuple(levels)


def _provenance(source: Path, record: Record, model: nn.Module, cut: nn.Module) -> dict[str, Any]:
    size = record.config.data.image_size
    networks = {"checkpoint": model, "exported": cut}
    return {
        "network": record.config.model.name,
        "parameters": {name: parameters(network) for name, network in networks.items()},
        "gmacs": {name: round(gmacs_of(network, size), 6) for name, network in networks.items()},
        "checkpoint_sha256": manifest.sha256(source / checkpoint.WEIGHTS),
        "configuration": record.config.to_dict(),
        "data": record.data,
        **record.provenance,
    }


def _finish(bundle: Manifest, folder: Path) -> None:
    """The hashes of everything, and the manifest last."""
    replace(bundle, files=_files(folder)).write(folder)


def _files(folder: Path) -> dict[str, File]:
    return {
        path.name: File(manifest.sha256(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
    }
