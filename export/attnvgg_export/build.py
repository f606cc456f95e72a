"""Makes a bundle of a checkpoint, or leaves nothing behind.

Everything is written into a folder beside the bundle's place, compared, and renamed there; the
manifest is written last.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import File, Input, Level, Manifest, Output
from attnvgg_export import card, golden, onnx_graph, parity, torchscript
from attnvgg_export.errors import OutputError
from attnvgg_export.graph import ExportGraph, run, without_dead_weight
from attnvgg_training import checkpoint, data
from attnvgg_training.checkpoint import Record
from attnvgg_training.models import parameters

FORMATS = ("onnx", "torchscript")
Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


def build(
    source: Path,
    out: Path,
    formats: Sequence[str] = FORMATS,
    pictures: Path | None = None,
    notes: str = "",
) -> Manifest:
    """Exports the checkpoint `source` to the bundle `out`, a folder NAME/VERSION.

    Args:
        formats: of FORMATS; onnx is always written.
        pictures: a data set whose test split the exported graph itself is then scored on.
        notes: Markdown that goes into the model card.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        DataError: `pictures` cannot be read, or has other classes than the checkpoint.
        OutputError: `out` exists, is badly named, or cannot be written.
        ParityError: an exported graph differs from the checkpoint; nothing is written.
    """
    model, record = checkpoint.load_model(source)
    name, version = _name_and_version(out)
    reference = ExportGraph(model, record.mean, record.std).eval()
    graph = ExportGraph(without_dead_weight(model), record.mean, record.std).eval()
    spec = _input(record)
    with _folder(out) as folder:
        provenance = _provenance(source, record, model, graph)
        head = {"name": name, "version": version, **_metadata(record, spec, provenance)}
        runners = _write_graphs(graph, spec, formats, folder, head)
        report = _check(reference, runners, spec)
        outputs = _outputs(graph, spec)
        scored = _score(runners["onnx"], record, pictures) if pictures else {}
        bundle = Manifest(
            name=name,
            version=version,
            labels=record.labels,
            input=spec,
            outputs=outputs,
            levels=_levels(graph, outputs),
            files={},
            metrics={**record.metrics, **scored},
            provenance=provenance,
            parity=report,
        )
        _write_golden(reference, spec, folder)
        _write_records(bundle, source, notes, folder)
        return _finish(bundle, folder)


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


def _input(record: Record) -> Input:
    size = record.config.data.image_size
    return Input(size, size, record.config.data.geometry, record.config.data.filter)


def _metadata(record: Record, spec: Input, provenance: dict[str, Any]) -> dict[str, Any]:
    """What the graph's file says of itself, beside its name and version."""
    return {
        "labels": record.labels,
        "input": asdict(spec),
        "license": Manifest.license,
        "checkpoint_sha256": provenance["checkpoint_sha256"],
    }


def _write_graphs(
    graph: ExportGraph, spec: Input, formats: Sequence[str], folder: Path, head: dict[str, Any]
) -> dict[str, Runner]:
    path = folder / "model.onnx"
    onnx_graph.save(onnx_graph.export(graph, spec.height, spec.width, head), path)
    _check_interface(path, graph)
    session = golden.session_of(path)
    runners: dict[str, Runner] = {"onnx": lambda image: golden.run(session, image)}
    if "torchscript" in formats:
        script_path = folder / "model.torchscript.pt"
        torchscript.export(graph, spec.height, spec.width, script_path)
        script = torchscript.load(script_path)

        def run_script(image: np.ndarray) -> dict[str, np.ndarray]:
            with torch.inference_mode():
                outputs = script(torch.from_numpy(image))
            return {n: o.numpy() for n, o in zip(graph.output_names, outputs, strict=True)}

        runners["torchscript"] = run_script
    return runners


def _check_interface(path: Path, graph: ExportGraph) -> None:
    """Names and axes as the file itself declares them."""
    model = onnx.load(str(path), load_external_data=False)
    parity.check_names(graph.output_names, [output.name for output in model.graph.output])
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    parity.check_axes(axes)


def _check(reference: ExportGraph, runners: dict[str, Runner], spec: Input) -> dict[str, Any]:
    """Compares every format with the uncut network in PyTorch, on photos and random pictures."""
    images = golden.pictures(spec, count=max(parity.BATCHES))
    report: dict[str, Any] = {}
    for format_name, runner in runners.items():
        differences: list[parity.Difference] = []
        for batch in parity.BATCHES:
            # From the end too, so that every batch size meets photos and random pixels.
            for image in (images[:batch], images[-batch:]):
                expected = _numpy(reference, image)
                where = f"{format_name} at batch {batch}"
                found = runner(image)
                differences += parity.compare(expected, found, parity.FLOAT32, where)
        report[format_name] = parity.report(differences, parity.FLOAT32)
    versions = {n: metadata.version(n) for n in ("torch", "onnx", "onnxscript", "onnxruntime")}
    return {**report, "versions": versions}


def _numpy(graph: ExportGraph, image: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in run(graph, torch.from_numpy(image)).items()}


def _write_golden(reference: ExportGraph, spec: Input, folder: Path) -> None:
    image = golden.pictures(spec)
    arrays: dict[str, Any] = {"image": image, **_numpy(reference, image)}
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


def _score(runner: Runner, record: Record, pictures: Path) -> dict[str, Any]:
    """Accuracy of the exported graph itself on a data set's test split."""
    dataset = data.load(pictures, record.config.data, record.labels)
    images, targets = dataset.test.images.numpy(), dataset.test.targets.numpy()
    found = [runner(images[i : i + 256])["probabilities"] for i in range(0, len(images), 256)]
    hits = int((np.concatenate(found).argmax(1) == targets).sum())
    return {"exported_test_accuracy": hits / len(targets), "exported_test_pictures": len(targets)}


def _outputs(graph: ExportGraph, spec: Input) -> tuple[Output, ...]:
    blank = torch.zeros(1, spec.height, spec.width, 3, dtype=torch.uint8)
    return tuple(
        Output(name, ("batch", *values.shape[1:])) for name, values in run(graph, blank).items()
    )


def _levels(graph: ExportGraph, outputs: Sequence[Output]) -> tuple[Level, ...]:
    grids = {output.name: output.shape[1:] for output in outputs}
    levels = []
    for conv in graph.model.levels:
        height, width = (int(side) for side in grids[f"attention_conv{conv}"])
        stride = graph.model.trunk.stride(conv)
        levels.append(Level(f"conv{conv}", (height, width), (stride, stride), "softmax"))
    return tuple(levels)


def _provenance(
    source: Path, record: Record, model: torch.nn.Module, graph: ExportGraph
) -> dict[str, Any]:
    return {
        "network": record.config.model.name,
        "parameters": {"checkpoint": parameters(model), "exported": parameters(graph.model)},
        "checkpoint_sha256": manifest.sha256(source / checkpoint.WEIGHTS),
        "configuration": record.config.to_dict(),
        "data": record.data,
        **record.provenance,
    }


def _finish(bundle: Manifest, folder: Path) -> Manifest:
    files = {
        path.name: File(manifest.sha256(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
    }
    complete = Manifest(**{**vars(bundle), "files": files})
    complete.write(folder)
    return complete
