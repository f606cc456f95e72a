"""Writes a graph as ONNX, with dynamo's exporter and a free batch axis, height and width."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import set_external_data

from attnvgg_bundle.manifest import Input
from attnvgg_export.graph import ExportGraph

OPSET = 20
PART_BYTES = 16 * 1024 * 1024


def export(graph: ExportGraph, spec: Input) -> onnx.ModelProto:
    """Traces the graph at [batch, height, width, 3]; height and width are free where the spec has
    `sizes`."""
    # Two pictures: an example batch of one risks being taken for a constant.
    example = torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8)
    free = {0: "batch"} | ({1: "height", 2: "width"} if spec.sizes else {})
    with warnings.catch_warnings(), torch.no_grad():
        # torch.onnx 2.13 uses a deprecated part of torch.utils._pytree itself.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[spec.name],
            output_names=graph.output_names,
            dynamic_shapes={"image": free},
        )
    assert program is not None  # only dynamo=False returns nothing
    model = program.model_proto
    for node in model.graph.node:
        # Stack traces with the paths of this machine, and names that change with every line.
        del node.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(model: onnx.ModelProto, metadata: Mapping[str, object]) -> None:
    """Puts `metadata` into the file's own metadata_props; values that are no text as JSON."""
    del model.metadata_props[:]
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=key, value=text)


def save(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Writes the model; where it exceeds 16 MB its weights go into parts of at most that beside it.

    Those weights leave `model` itself.

    Returns:
        Every file written.
    """
    if model.ByteSize() <= PART_BYTES:
        onnx.save_model(model, str(path))
        return [path]
    parts: list[Path] = []
    room = 0
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        if size < 1024:
            continue
        if size > room:
            parts.append(path.with_name(f"{path.name}.data{len(parts):02d}"))
            room = PART_BYTES
        set_external_data(tensor, location=parts[-1].name)
        room -= size
    onnx.save_model(model, str(path))
    for part in parts:
        part.chmod(0o644)  # onnx keeps them to their owner; a server runs as somebody else
    return [path, *parts]
