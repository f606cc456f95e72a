"""The check is checked: what is not the checkpoint is refused by name, and nothing is left."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from attnvgg_bundle.compare import OutputNamesError, ShapeError, ValuesError
from attnvgg_bundle.manifest import Input, IntegrityError
from attnvgg_export import build as build_module
from attnvgg_export import onnx_graph, quantize, torchscript, writers
from attnvgg_export.build import build
from attnvgg_export.errors import AxesError, HeldOutError
from attnvgg_export.folding import folded
from attnvgg_export.formats import FORMATS, HeldOut
from attnvgg_export.graph import ExportGraph
from attnvgg_training.network import Network
from support import ROOT, changed_checkpoint

SHAPES = ROOT / "tests" / "data" / "shapes"
Patch = pytest.MonkeyPatch


def before_export(corrupt: Callable[[ExportGraph], None]) -> Callable[[Patch], None]:
    """The graph is another than the checkpoint's when it is written."""
    honest = writers.write

    def write(graph: ExportGraph, *rest: object) -> object:
        corrupt(graph)
        return honest(graph, *rest)  # type: ignore[arg-type]

    return lambda patch: patch.setattr(writers, "write", write)


EXPORT, EXPORTED = onnx_graph.export, list[onnx.ModelProto]()


def exported_once(graph: ExportGraph, spec: Input) -> onnx.ModelProto:
    """A copy: to trace the tiny checkpoint takes seconds, and gives the same every time."""
    if not EXPORTED:
        EXPORTED.append(EXPORT(graph, spec))
    copy = onnx.ModelProto()
    copy.CopyFrom(EXPORTED[0])
    return copy


def after_export(corrupt: Callable[[onnx.ModelProto], object]) -> Callable[[Patch], None]:
    """The ONNX file is another than the graph when it is saved."""
    honest = onnx_graph.save

    def save(model: onnx.ModelProto, path: Path) -> list[Path]:
        corrupt(model)
        return honest(model, path)

    def apply(patch: Patch) -> None:
        patch.setattr(onnx_graph, "export", exported_once)
        patch.setattr(onnx_graph, "save", save)

    return apply


def one_weight(graph: ExportGraph) -> None:
    with torch.no_grad():
        graph.model.units[5][0].weight[0, 0, 1, 1] += 1


def swapped_classes(graph: ExportGraph) -> None:
    head = graph.model.head.classify
    with torch.no_grad():
        head.weight.copy_(head.weight[[1, 0, 2]].clone())


def no_normalisation(graph: ExportGraph) -> None:
    graph.mean, graph.std = [0.0] * 3, [1.0] * 3


def shifted_map(graph: ExportGraph) -> None:
    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        outputs[2] = outputs[2].roll(1, dims=2)
        return tuple(outputs)

    graph.forward = forward  # type: ignore[method-assign]


def reordered_values(graph: ExportGraph) -> None:
    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        return (*outputs[:2], outputs[4], outputs[3], outputs[2], outputs[5])

    graph.forward = forward  # type: ignore[method-assign]


def wrong_at_other_sizes(graph: ExportGraph) -> None:
    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        outputs[1] = outputs[1] * (image.shape[1] * image.shape[2] / 1024)
        return tuple(outputs)

    graph.forward = forward  # type: ignore[method-assign]


def wrong_on_noise_in_threes(graph: ExportGraph) -> None:
    """Neighbouring random pixels differ by 85 on average, those of the photos by half as much."""

    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        b, pixels = image.shape[0], image.float()
        noise = ((pixels[:, :, 1:] - pixels[:, :, :-1]).abs().mean((1, 2, 3)) - 70).relu()
        # Nothing at batches of 1, 2, 7 and 32.
        factor = (b - 1) * (b - 2) * (b - 7) * (b - 32)
        outputs[5] = outputs[5] + noise[:, None] * factor
        return tuple(outputs)

    graph.forward = forward  # type: ignore[method-assign]


def exchanged_outputs(model: onnx.ModelProto) -> None:
    first, *rest = model.graph.output
    outputs = [*rest, first]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def missing_output(model: onnx.ModelProto) -> None:
    del model.graph.output[-1]


def frozen_axis(axis: int) -> Callable[[onnx.ModelProto], None]:
    def freeze(model: onnx.ModelProto) -> None:
        dimension = model.graph.input[0].type.tensor_type.shape.dim[axis]
        dimension.Clear()
        dimension.dim_value = 32 if axis else 2

    return freeze


def swapped_labels(model: onnx.ModelProto) -> None:
    for each in model.metadata_props:
        if each.key == "labels":
            first, second, third = json.loads(each.value)
            each.value = json.dumps([second, first, third])


CORRUPTIONS = [
    (before_export(one_weight), ValuesError, "onnx at batch 1 of 32x32: probabilities differs by"),
    (
        before_export(no_normalisation),
        ValuesError,
        "onnx at batch 1 of 32x32: probabilities differs by",
    ),
    (
        before_export(shifted_map),
        ValuesError,
        r"onnx at batch 1 of 32x32: attention_conv10 \(as h\*w\*a\) differs by",
    ),
    (
        before_export(swapped_classes),
        ValuesError,
        "onnx at batch 1 of 32x32: probabilities differs by",
    ),
    (
        before_export(wrong_at_other_sizes),
        ValuesError,
        r"onnx at batch 3 of 8x64: attention_conv7 \(as h\*w\*a\) differs by",
    ),
    (
        before_export(wrong_on_noise_in_threes),
        ValuesError,
        "onnx at batch 3 of 32x32: descriptor differs by",
    ),
    (before_export(reordered_values), ShapeError, "attention_conv10 is float32"),
    (after_export(exchanged_outputs), OutputNamesError, "the outputs are attention_conv7, .*desc"),
    (after_export(missing_output), OutputNamesError, "expected probabilities"),
    (after_export(frozen_axis(0)), AxesError, "image has shape .*: its batch axis must be free"),
    (after_export(frozen_axis(2)), AxesError, "image has shape .*: its axis 2 must be free"),
    (after_export(swapped_labels), IntegrityError, "the graph's own labels are .*square.*circle"),
]


@pytest.mark.parametrize(("corrupt", "error", "message"), CORRUPTIONS)
def test_a_graph_that_differs_is_refused_and_nothing_is_left(
    corrupt: Callable[[Patch], None],
    error: type[Exception],
    message: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    corrupt(monkeypatch)
    with pytest.raises(error, match=message):
        build(tiny_checkpoint, tmp_path / "models" / "m" / "1", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_batch_norms_folded_wrongly_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    def careless(model: Network) -> Network:
        copy = folded(model)
        copy.head.affine.shift.zero_()  # type: ignore[operator, union-attr]
        return copy

    monkeypatch.setattr(build_module, "folded", careless)
    with pytest.raises(ValuesError, match="probabilities differs"):
        build(tiny_checkpoint, tmp_path / "m" / "1", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_torchscript_that_differs_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    honest = torchscript.export

    def export(graph: ExportGraph, *rest: object) -> None:
        one_weight(graph)
        honest(graph, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(torchscript, "export", export)
    with pytest.raises(ValuesError, match="torchscript at batch 1 of 32x32: probabilities"):
        build(tiny_checkpoint, tmp_path / "m" / "1")
    assert list(tmp_path.iterdir()) == []


def damaged_int8(model: onnx.ModelProto) -> None:
    """Another layer's weights: one that the calibration cannot make up for."""
    weight = next(
        t for t in model.graph.initializer if t.name.endswith("units.5.0.weight_quantized")
    )
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), weight.name))


def test_an_int8_graph_that_differs_is_refused(
    gentle_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    honest = quantize.quantize

    def careless(*arguments: object) -> onnx.ModelProto:
        model = honest(*arguments)  # type: ignore[arg-type]
        damaged_int8(model)
        return model

    monkeypatch.setattr(quantize, "quantize", careless)
    with pytest.raises(
        ValuesError, match=r"int8 at batch 1 of 32x32: descriptor differs by .* of its le"
    ):
        build(gentle_checkpoint, tmp_path / "m" / "1", ["onnx", "int8"], SHAPES)
    assert list(tmp_path.iterdir()) == []


def test_an_int8_graph_that_looks_elsewhere_is_refused(
    gentle_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """No map survives 8 bits to the last digit."""
    strict = replace(FORMATS["int8"], held_out=HeldOut(correlation=1.0, variation=0.0))
    monkeypatch.setitem(FORMATS, "int8", strict)
    with pytest.raises(HeldOutError, match="int8: the maps of conv7 look elsewhere on 24 held-out"):
        build(gentle_checkpoint, tmp_path / "m" / "1", ["onnx", "int8"], SHAPES)
    assert list(tmp_path.iterdir()) == []


def test_float16_that_overflows_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """ONNX Runtime's CPU would not notice: it runs float16 convolutions in float32."""

    def enlarge(weights: dict[str, torch.Tensor]) -> None:
        """The same function with activations of about 1e5 behind unit 3."""
        gains = {1: 1.0, 2: 1e3, 3: 1e5, 4: 1e2, 5: 1.0}
        for unit in (2, 3, 4, 5):
            for name in ("weight", "bias"):
                weights[f"units.{unit}.1.{name}"] *= gains[unit]
            weights[f"units.{unit}.1.running_mean"] *= gains[unit - 1]
            weights[f"units.{unit}.1.running_var"] *= gains[unit - 1] ** 2

    folder = changed_checkpoint(tiny_checkpoint, tmp_path / "run", enlarge)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValuesError, match=r"fp16 in PyTorch at batch 1 of 32x32: .* by nan"):
        build(folder, tmp_path / "m" / "1", ["onnx", "fp16"])
    assert sorted(tmp_path.rglob("*")) == before
