"""Writes a bundle's graphs, and gives what runs each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from attnvgg_bundle.manifest import Input
from attnvgg_export import golden, onnx_graph, parity, quantize, torchscript
from attnvgg_export.folding import halved
from attnvgg_export.formats import FORMATS
from attnvgg_export.graph import ExportGraph, run
from attnvgg_export.held_out import Runner


@dataclass(frozen=True)
class Written:
    """A graph on disk. runners: what computes it, by the name that messages give it."""

    runners: dict[str, Runner]
    facts: dict[str, Any]


def write(
    graph: ExportGraph,
    spec: Input,
    formats: Sequence[str],
    folder: Path,
    metadata: dict[str, Any],
    calibration: NDArray[np.uint8] | None,
) -> dict[str, Written]:
    """Writes the graph (folded, in evaluation mode) in each format; onnx first, int8 is made of it.

    Args:
        calibration: pictures [N, H, W, 3] for int8.

    Raises:
        OutputNamesError, AxesError: a file declares other outputs or axes than it must have.
    """
    done: dict[str, Written] = {}
    for name in sorted(formats, key=list(FORMATS).index):
        path = folder / FORMATS[name].file
        if name == "torchscript":
            done[name] = _write_script(graph, spec, path, metadata)
        else:
            model, witnesses = _onnx_model(name, graph, spec, folder, calibration)
            onnx_graph.describe(model, metadata)
            written = _write_onnx(model, path)
            _check_interface(path, graph, spec)
            runner = _session_runner(golden.session_of(path))
            done[name] = Written({name: runner, **witnesses}, written)
    return done


def reference(graph: ExportGraph, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What PyTorch computes, as arrays."""
    return {name: value.numpy() for name, value in run(graph, torch.from_numpy(image)).items()}


def _write_script(graph: ExportGraph, spec: Input, path: Path, metadata: dict[str, Any]) -> Written:
    torchscript.export(graph, spec.height, spec.width, path, metadata)
    runner = _script_runner(torchscript.load(path), graph)
    weights = sum(t.numel() for t in graph.state_dict().values())
    return Written({"torchscript": runner}, {"parameters": weights, "bytes": path.stat().st_size})


def _write_onnx(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    """Writes the model with its parts; returns what the report says of it."""
    numbers = [int(np.prod(tensor.dims)) for tensor in model.graph.initializer]
    facts = {"nodes": len(model.graph.node), "parameters": sum(numbers)}
    parts = onnx_graph.save(model, path)
    return {**facts, "bytes": sum(part.stat().st_size for part in parts)}


def _onnx_model(
    name: str,
    graph: ExportGraph,
    spec: Input,
    folder: Path,
    calibration: NDArray[np.uint8] | None,
) -> tuple[onnx.ModelProto, dict[str, Runner]]:
    """The model, and what else computes it."""
    if name == "int8":
        assert calibration is not None  # build asks for the pictures first
        return quantize.quantize(folder / FORMATS["onnx"].file, calibration), {}
    if name == "fp16":
        half = ExportGraph(halved(graph.model), graph.mean, graph.std).eval()
        # ONNX Runtime's CPU runs float16 convolutions in float32, where nothing can overflow;
        # PyTorch's runs them in float16, as a GPU will.
        witnesses: dict[str, Runner] = {"fp16 in PyTorch": lambda image: reference(half, image)}
        return onnx_graph.export(half, spec), witnesses
    return onnx_graph.export(graph, spec), {}


def _session_runner(session: Any) -> Runner:
    return lambda image: golden.run(session, image)


def _script_runner(script: torch.jit.ScriptModule, graph: ExportGraph) -> Runner:
    def run_script(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            outputs = script(torch.from_numpy(image))
        return {n: o.numpy() for n, o in zip(graph.output_names, outputs, strict=True)}

    return run_script


def _check_interface(path: Path, graph: ExportGraph, spec: Input) -> None:
    """Names and axes as the file itself declares them."""
    model = onnx.load(str(path), load_external_data=False)
    parity.check_names(graph.output_names, [output.name for output in model.graph.output])
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    parity.check_axes(axes, spatial=spec.sizes is not None)
