"""Makes a bundle of a checkpoint, or leaves nothing behind.

Everything is written into a folder beside the bundle's place, compared, and renamed there; the
manifest is written last.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import File, Input, Level, Manifest, Output, Sizes
from attnvgg_export import card, golden, judge, quantize, writers
from attnvgg_export.errors import FormatError, OutputError
from attnvgg_export.folding import folded
from attnvgg_export.formats import FORMATS
from attnvgg_export.graph import ExportGraph
from attnvgg_export.writers import reference
from attnvgg_training import checkpoint, data
from attnvgg_training.checkpoint import Record
from attnvgg_training.models import gmacs_of, parameters
from attnvgg_training.network import Network

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
        ParityError, DifferenceError: an exported graph differs from the checkpoint; nothing is
            written.
        IntegrityError: what lies on the disk is not what was to be written.
    """
    _check_formats(formats, pictures)
    name, version = _name_and_version(out)
    model, record = checkpoint.load_model(source)
    cut = model.cut()
    whole, light, graph = (
        ExportGraph(network, record.mean, record.std).eval()
        for network in (model, cut, folded(cut))
    )
    spec = _input(record, cut)
    with _folder(out) as folder:
        dataset = data.load(pictures, record.config.data, record.labels) if pictures else None
        calibration = quantize.sample(dataset.train) if dataset else None
        provenance = _provenance(source, record, model, cut)
        head = {"name": name, "version": version, **_metadata(record, spec, provenance)}
        written = writers.write(graph, spec, formats, folder, head, calibration)
        report = judge.compare(whole, light, written, spec)
        scores = judge.hold_out(written, dataset) if dataset else {}
        provenance["graphs"] = {name: each.facts for name, each in written.items()}
        bundle = replace(
            _manifest(name, version, record, graph, spec),
            files=_files(folder),  # so far; the card lists the graphs
            metrics={**record.metrics, **judge.metrics(scores)},
            provenance=provenance,
            parity=judge.with_scores(report, scores),
        )
        _write_golden(whole, spec, folder)
        _write_records(bundle, source, notes, folder)
        replace(bundle, files=_files(folder)).write(folder)  # the hashes of everything, and last
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


def _input(record: Record, model: Network) -> Input:
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


def _manifest(name: str, version: str, record: Record, graph: ExportGraph, spec: Input) -> Manifest:
    """What is known before anything is written."""
    outputs = _outputs(graph, spec)
    levels = _levels(graph, outputs)
    return Manifest(name, version, record.labels, spec, outputs, levels, files={})


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
    for name, stride in graph.model.strides.items():
        height, width = (int(side) for side in grids[f"attention_{name}"])
        levels.append(Level(name, (height, width), (stride, stride), kind))
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


def _files(folder: Path) -> dict[str, File]:
    return {
        path.name: File(manifest.sha256(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
    }
