"""Networks of every kind are exported, and compute in ONNX what they compute in PyTorch."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import nn

from attnvgg_bundle.manifest import Input, Sizes
from attnvgg_export import golden, onnx_graph, parity, quantize
from attnvgg_export.folding import folded, halved
from attnvgg_export.formats import limit
from attnvgg_export.graph import ExportGraph
from attnvgg_export.writers import reference
from attnvgg_training import models
from attnvgg_training.models import ModelConfig
from attnvgg_training.network import Head, Network
from attnvgg_training.registry import NETWORKS
from attnvgg_training.resnet import AttentionResNet

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
TINY: dict[str, Any] = {"widths": (4, 6, 8, 12, 12), "depths": (1, 1, 1, 1, 1, 1), "dropout": 0.0}
SPEC = Input(32, 32, "stretch", "bicubic")

# Settings that change what is exported, each on a network that has them.
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "after, g": ("VGG-att2-concat-dp", {"tap": "after"}),
    "l to g": ("VGG-att3-concat-pc", {"projection": "l-to-g"}),
    "l to g, g": ("VGG-att3-indep-dp", {"projection": "l-to-g"}),
    "sigmoid, indep": ("VGG-att2-indep-pc", {"normalisation": "sigmoid"}),
    "sigmoid, ResNet": ("ResNet-164-att2-concat-pc", {"normalisation": "sigmoid"}),
    "sparsemax, ResNet": ("ResNet-164-att2-indep-pc", {"normalisation": "sparsemax"}),
    "no norm, indep": ("VGG-att3-indep-pc", {"head_norm": False}),
    "residual": ("VGG-att3-concat-pc", {"residual": True, "depths": (1, 1, 3, 1, 4, 1)}),
    "early pools": ("VGG-att3-concat-pc", {"pools": (1, 3, 4), "pool_sizes": (4, 2, 2)}),
}

# Seconds of torch.export each: of the VGGs with two levels one stands for all.
NAMES = [
    name
    for name, entry in NETWORKS.items()
    if entry.levels != 2 or entry.kind == "resnet" or name == "VGG-att2-concat-pc"
]


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(AttentionResNet, blocks=2, widths=(4, 8, 12, 16))
    monkeypatch.setattr(models, "AttentionResNet", small)


def network(name: str, **settings: Any) -> Network:
    """In evaluation mode, with maps and statistics of its own."""
    torch.manual_seed(0)
    kind = NETWORKS[name].kind
    plan = {} if kind == "resnet" else TINY
    if kind in ("gap", "vgg-16"):
        plan = plan | {"depths": (1, 1, 1, 1, 1, 0)}
    model = models.build(ModelConfig(name, **(plan | settings)), 3)
    for attention in model.attention.values():
        if attention.u is not None:
            nn.init.normal_(attention.u, std=0.3)
    for _ in range(3):
        model(torch.randn(16, 3, 32, 32))
    return model.eval()


def graph_of(model: Network) -> ExportGraph:
    return ExportGraph(model, MEAN, STD).eval()


def exported(model: Network) -> tuple[onnx.ModelProto, Input]:
    """With free sizes, as `attnvgg-export build` declares them."""
    sizes = Sizes(model.multiple, 64, model.multiple)
    spec = Input(32, 32, "stretch", "bicubic", sizes=sizes)
    return onnx_graph.export(graph_of(folded(model)), spec), spec


@pytest.mark.parametrize("case", [*NAMES, *OPTIONS])
def test_the_graph_computes_what_the_network_computes(case: str) -> None:
    name, settings = OPTIONS.get(case, (case, {}))
    model = network(name, **settings)
    light = model.cut()
    made, spec = exported(light)
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}
    session = golden.session_of(made.SerializeToString())
    allowed = limit("onnx", model.normalisation)
    image = golden.pictures(spec, 12)
    found = golden.run(session, image)
    parity.compare(reference(graph_of(model), image), found, allowed, name)
    assert list(found) == graph_of(model).output_names
    assert list(found)[1:-1] == maps_of(model)
    assert np.allclose(found["probabilities"].sum(1), 1, atol=1e-5)
    assert found["probabilities"].std(0).max() > 1e-4
    for size in (*parity.other_sizes(spec), (light.multiple, light.multiple)):
        image = golden.pictures(spec, 3, size)
        found = golden.run(session, image)
        parity.compare(reference(graph_of(light), image), found, allowed, f"{name} at {size}")
        for level, stride in model.strides.items():
            grid = (size[0] // stride, size[1] // stride)
            assert found[f"attention_{level}"].shape == (3, *grid)


def maps_of(model: Network) -> list[str]:
    """What the names of the outputs must be between probabilities and descriptor."""
    levels = [f"attention_{name}" for name in model.level_names]
    return [*levels, "attention_fused"] if len(levels) > 1 else levels


def test_levels_have_the_names_and_grids_of_their_trunk() -> None:
    assert network("VGG-att2-concat-pc", depths=(2, 2, 3, 3, 3, 2)).strides == {
        "conv10": 2,
        "conv13": 4,
    }
    assert network("ResNet-164-att2-concat-pc").strides == {"stage2": 2, "stage3": 4}
    assert network("ResNet-164-att1-concat-dp").strides == {"stage3": 4}
    for name in ("VGG-control", "VGG-GAP", "VGG-16-BN", "ResNet-164"):
        assert graph_of(network(name)).output_names == ["probabilities", "descriptor"]


@pytest.mark.parametrize("name", ["VGG-att3-indep-pc", "ResNet-164-att2-indep-dp"])
def test_indep_gives_the_mean_of_the_heads_probabilities(name: str) -> None:
    model = network(name)
    image = golden.pictures(SPEC, 12)
    found = golden.run(golden.session_of(exported(model.cut())[0].SerializeToString()), image)
    heads = [head for head in model.head.children() if isinstance(head, Head)]
    widths = [head.classify.in_features for head in heads]
    parts = torch.from_numpy(found["descriptor"]).split(widths, dim=1)
    with torch.inference_mode():
        each = torch.stack([h([part]).softmax(-1) for h, part in zip(heads, parts, strict=True)])
    assert each.std(0).max() > 1e-3  # the levels disagree, or any average would do
    assert np.allclose(found["probabilities"], each.mean(0).numpy(), atol=1e-5)


HALVES = ["after, g", "l to g", "residual", "no norm, indep", "sigmoid, ResNet"]


@pytest.mark.parametrize("case", [*HALVES, "VGG-GAP", "VGG-16-BN", "ResNet-164"])
def test_float16_is_in_every_convolution_and_nowhere_else(case: str) -> None:
    name, settings = OPTIONS.get(case, (case, {}))
    light = network(name, **settings).cut()
    half = halved(folded(light))
    made = onnx_graph.export(graph_of(half), SPEC)
    kinds = {each.name: each.data_type for each in made.graph.initializer}
    convolutions = {n.input[1] for n in made.graph.node if n.op_type == "Conv"}
    assert {kinds[weight] for weight in convolutions} == {TensorProto.FLOAT16}
    linear = {n.input[1] for n in made.graph.node if n.op_type == "Gemm"}
    assert {kinds[weight] for weight in linear} == {TensorProto.FLOAT}
    image = golden.pictures(SPEC, 12)
    expected = reference(graph_of(light), image)
    for found in (golden.run(golden.session_of(made.SerializeToString()), image),
                  reference(graph_of(half), image)):  # fmt: skip
        assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
        parity.compare(expected, found, limit("fp16", light.normalisation), case)


@pytest.mark.parametrize("case", ["l to g", "residual", "ResNet-164-att2-concat-pc"])
def test_int8_leaves_the_projection_of_local_features_alone(case: str, tmp_path: Path) -> None:
    """Its output is scored and summed as it is."""
    name, settings = OPTIONS.get(case, (case, {}))
    light = network(name, **settings).cut()
    made, spec = exported(light)
    onnx.save(made, str(tmp_path / "model.onnx"))
    image: NDArray[np.uint8] = golden.pictures(spec, 64)
    small = quantize.quantize(tmp_path / "model.onnx", image)
    kinds = {each.name: each.data_type for each in small.graph.initializer}
    lifts = [name for name in kinds if ".lift." in name]
    assert len(lifts) == (1 if case == "l to g" else 0)
    assert {kinds[name] for name in lifts} <= {TensorProto.FLOAT}
    eights = [k for name, k in kinds.items() if name.endswith(".weight_quantized")]
    convolutions = [m for m in light.modules() if isinstance(m, nn.Conv2d)]
    assert len(eights) == len(convolutions) - len(lifts)
    assert set(eights) == {TensorProto.INT8}
    found = golden.run(golden.session_of(small.SerializeToString()), image[:12])
    parity.compare(reference(graph_of(light), image[:12]), found, limit("int8", "softmax"), case)
