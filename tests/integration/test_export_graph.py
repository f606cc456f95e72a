"""From the checkpoint's network to the graph nothing changes but its weight."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from attnvgg_bundle.manifest import Input, Sizes
from attnvgg_export import golden, onnx_graph, parity
from attnvgg_export.folding import folded, halved
from attnvgg_export.formats import limit
from attnvgg_export.graph import ExportGraph, run
from attnvgg_export.writers import reference
from attnvgg_training import models
from attnvgg_training.network import Network

WIDTHS = (8, 12, 24, 32, 32)
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
SPEC = Input(32, 32, "stretch", "bicubic")

CASES = [
    ("VGG-att3-concat-pc", "softmax", True),
    ("VGG-att2-concat-pc", "sparsemax", True),
    ("VGG-att3-concat-pc", "one-hot", True),
    ("VGG-att3-concat-pc", "sigmoid", False),
    ("VGG-att3-concat-dp", "softmax", False),
    ("VGG-att2-concat-dp", "sigmoid", False),
    ("VGG-control", "softmax", False),
]


def network(name: str, normalisation: str = "softmax", **values: object) -> Network:
    torch.manual_seed(0)
    plan = {"widths": WIDTHS, "pools": (2, 7, 10, 13), "normalisation": normalisation, **values}
    model = models.build(models.ModelConfig(name, **plan), 3)  # type: ignore[arg-type]
    for attention in model.attention.values():
        if attention.u is not None:
            nn.init.normal_(attention.u, std=0.3)
    for _ in range(3):  # batch norm gets statistics of its own
        model(torch.randn(16, 3, 32, 32))
    return model.eval()


def graph_of(model: Network) -> ExportGraph:
    return ExportGraph(model, MEAN, STD).eval()


@pytest.mark.parametrize(("name", "normalisation", "dead"), CASES)
def test_dead_weight_is_cut_and_live_weight_is_not(
    name: str, normalisation: str, dead: bool
) -> None:
    """And the exported graph computes what the whole network computes, in every case."""
    model = network(name, normalisation)
    cut = model.cut()
    assert (cut is not model) == dead
    assert (cut.global_branch is None) == dead
    assert (models.parameters(cut) < models.parameters(model)) == dead
    image = golden.pictures(SPEC, 16)
    session = golden.session_of(onnx_graph.export(graph_of(folded(cut)), SPEC).SerializeToString())
    parity.compare(
        reference(graph_of(model), image),
        golden.run(session, image),
        limit("onnx", normalisation),
        name,
    )


def test_a_quarter_of_the_papers_network_is_dead() -> None:
    model = models.build(models.ModelConfig(), 10).eval()
    cut = model.cut()
    assert models.parameters(model) / 1e6 == pytest.approx(19.85, abs=0.005)
    assert models.parameters(cut) / 1e6 == pytest.approx(14.74, abs=0.005)


@pytest.mark.parametrize("name", ["VGG-att3-concat-dp", "VGG-att3-concat-pc", "VGG-control"])
def test_no_batch_norm_is_left(name: str) -> None:
    """dp projects g to the channels of each level with a batch norm of its own."""
    model = network(name)
    light = folded(model.cut())
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    assert not [m for m in light.modules() if isinstance(m, norms)]
    assert [m for m in model.modules() if isinstance(m, norms)]  # the original keeps its own
    exported = onnx_graph.export(graph_of(light), SPEC)
    assert "BatchNormalization" not in {node.op_type for node in exported.graph.node}


def test_only_convolutions_are_float16() -> None:
    for name in ("VGG-att3-concat-pc", "VGG-control"):
        light = folded(network(name).cut())
        half = halved(light)
        assert {p.dtype for p in half.units.parameters()} == {torch.float16}
        assert {p.dtype for p in half.head.parameters()} == {torch.float32}
        assert {p.dtype for p in light.parameters()} == {torch.float32}
        image = torch.from_numpy(golden.pictures(SPEC, 4))
        outputs = run(graph_of(half), image)
        assert {value.dtype for value in outputs.values()} == {torch.float32}


@pytest.mark.parametrize("pools", [(2, 7, 10, 13), (7, 10, 13, 14, 15)])
def test_other_sizes_follow_the_pools(pools: tuple[int, ...]) -> None:
    model = network("VGG-att3-concat-pc", pools=pools)
    light = model.cut()
    assert model.multiple == 2 ** len(pools)
    assert light.multiple == light.strides["conv13"]
    spec = Input(32, 32, "stretch", "bicubic", sizes=Sizes(light.multiple, 64, light.multiple))
    session = golden.session_of(
        onnx_graph.export(graph_of(folded(light)), spec).SerializeToString()
    )
    for size in (*parity.other_sizes(spec), (light.multiple, light.multiple), (64, 64)):
        image = golden.pictures(spec, 11, size)[::5]
        expected = reference(graph_of(light), image)
        found = golden.run(session, image)
        parity.compare(expected, found, limit("onnx", "softmax"), f"{size}")
        for level, stride in light.strides.items():
            grid = found[f"attention_{level}"].shape[1:]
            assert grid == (size[0] // stride, size[1] // stride)


def test_free_axes_have_names_and_fixed_ones_numbers() -> None:
    light = graph_of(folded(network("VGG-att2-concat-pc").cut()))
    free = onnx_graph.export(light, Input(32, 32, "stretch", "bicubic", sizes=Sizes(8, 64, 8)))
    fixed = onnx_graph.export(light, SPEC)

    def shape(model: onnx.ModelProto) -> list[str | int]:
        axes = model.graph.input[0].type.tensor_type.shape.dim
        return [axis.dim_param or axis.dim_value for axis in axes]

    assert shape(free) == ["batch", "height", "width", 3]
    assert shape(fixed) == ["batch", 32, 32, 3]


def test_big_graphs_are_cut_into_parts(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "PART_BYTES", 100_000)
    whole = tiny_models / "tiny" / "1" / "model.onnx"
    files = onnx_graph.save(onnx.load(str(whole)), tmp_path / "model.onnx")
    assert len(files) > 2
    assert all(path.stat().st_size <= 100_000 + 16_384 for path in files[1:])
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    image = golden.pictures(SPEC, 4)
    expected = golden.run(golden.session_of(whole), image)
    found = golden.run(golden.session_of(tmp_path / "model.onnx"), image)
    assert all((expected[name] == found[name]).all() for name in expected)
