"""int8, fp16 and TorchScript beside ONNX: what they are, and what they may lose."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from attnvgg_bundle import manifest
from attnvgg_bundle.compare import ValuesError
from attnvgg_bundle.manifest import Manifest
from attnvgg_export import golden, held_out, parity
from attnvgg_export.build import build
from attnvgg_export.cli import main
from attnvgg_export.errors import HeldOutError
from attnvgg_export.formats import FORMATS, HeldOut, Spread, Tolerance, limit, listing, table
from attnvgg_export.torchscript import METADATA
from support import ROOT

SHAPES = ROOT / "tests" / "data" / "shapes"


@pytest.fixture(scope="module")
def bundle(gentle_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four formats."""
    out = tmp_path_factory.mktemp("models") / "gentle" / "7"
    build(gentle_checkpoint, out, list(FORMATS), SHAPES)
    return out


@pytest.fixture(scope="module")
def record(bundle: Path) -> Manifest:
    return manifest.read(bundle)


def test_every_format_is_there_verified_and_reported(
    bundle: Path, record: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {f.file for f in FORMATS.values()} <= set(record.files)
    for name in FORMATS:
        report = record.parity[name]
        assert report["batches"] == [1, 2, 3, 7, 32]
        assert len(report["sizes"]) == 2
        assert set(report["largest_difference"]) == {o.name for o in record.outputs}
    assert main(["verify", str(bundle)]) == 0
    printed = capsys.readouterr().out
    assert "int8 attention_conv10: largest difference" in printed
    assert "fp16 attention_conv10: largest difference" in printed
    assert "torchscript: model.torchscript.pt has its hash; it was not run" in printed


def test_every_graph_explains_itself(bundle: Path, record: Manifest) -> None:
    wanted = {"labels": list(record.labels), "name": "gentle", "version": "7"}
    wanted |= {"license": "Apache-2.0"}
    for name in ("onnx", "int8", "fp16"):
        model = onnx.load(str(bundle / FORMATS[name].file))
        found = {each.key: each.value for each in model.metadata_props}
        assert set(found) == {*wanted, "input", "checkpoint_sha256"}
        assert json.loads(found["labels"]) == wanted["labels"]
        assert json.loads(found["input"])["sizes"] == {"min": 8, "max": 256, "multiple": 8}
        assert found["checkpoint_sha256"] == record.provenance["checkpoint_sha256"]
    extra = {METADATA: ""}
    with pytest.warns(DeprecationWarning, match="torch"):
        torch.jit.load(str(bundle / FORMATS["torchscript"].file), _extra_files=extra)
    found = json.loads(extra[METADATA])
    assert {key: found[key] for key in wanted} == wanted


def test_no_file_tells_where_it_was_made(bundle: Path) -> None:
    """The exporters write stack traces into ONNX nodes and source locations into TorchScript."""
    for path in bundle.iterdir():
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        parts = [archive.read(n) for n in archive.namelist()] if archive else [path.read_bytes()]
        for part in parts:
            assert b"/attnvgg_export/graph.py" not in part, path.name
            assert str(ROOT).encode() not in part, path.name
            assert str(Path.home()).encode() not in part, path.name


def types(model: onnx.ModelProto) -> dict[str, set[int]]:
    """Weight name -> element types, of the weights that are more than a scale."""
    found: dict[str, set[int]] = {}
    for each in model.graph.initializer:
        if np.prod(each.dims) > 100:
            kind = (
                "convolution" if ".units." in f".{each.name}" or "units." in each.name else "rest"
            )
            found.setdefault(kind, set()).add(each.data_type)
    return found


def test_int8_is_in_the_convolutions_and_nowhere_else(bundle: Path) -> None:
    model = onnx.load(str(bundle / "model.int8.onnx"))
    assert types(model) == {"convolution": {TensorProto.INT8}, "rest": {TensorProto.FLOAT}}
    made = {out: node.op_type for node in model.graph.node for out in node.output}
    for node in model.graph.node:
        if node.op_type in ("Softmax", "Einsum", "Gemm"):
            sources = {made.get(name) for name in node.input}
            assert "QuantizeLinear" not in sources
        if node.op_type == "Conv":
            assert made[node.input[0]] == "DequantizeLinear"


def test_int8_weights_keep_to_seven_bits(bundle: Path) -> None:
    """With eight, processors without VNNI saturate where this one does not."""
    model = onnx.load(str(bundle / "model.int8.onnx"))
    largest = max(
        int(np.abs(onnx.numpy_helper.to_array(each).astype(int)).max())
        for each in model.graph.initializer
        if each.data_type == TensorProto.INT8
    )
    assert 32 < largest <= 64


def test_fp16_is_in_the_convolutions_and_nowhere_else(bundle: Path) -> None:
    model = onnx.load(str(bundle / "model.fp16.onnx"))
    assert types(model) == {"convolution": {TensorProto.FLOAT16}, "rest": {TensorProto.FLOAT}}


def test_smaller_formats_are_smaller_and_the_report_says_so(record: Manifest) -> None:
    graphs = record.provenance["graphs"]
    for name in ("onnx", "int8", "fp16"):
        assert graphs[name]["bytes"] == record.files[FORMATS[name].file].bytes
        assert graphs[name]["nodes"] > 50
        assert graphs[name]["parameters"] > record.provenance["parameters"]["exported"] * 0.9
    assert graphs["fp16"]["bytes"] < 0.7 * graphs["onnx"]["bytes"]
    assert graphs["int8"]["bytes"] < graphs["fp16"]["bytes"]
    assert 0 < record.provenance["gmacs"]["exported"] < record.provenance["gmacs"]["checkpoint"]


def test_held_out_pictures_judge_the_smaller_formats(record: Manifest) -> None:
    assert "held_out" not in record.parity["onnx"]
    for name in ("int8", "fp16"):
        found = record.parity[name]["held_out"]
        assert found["pictures"] == 24
        assert set(found["correlation"]) == {"conv7", "conv10", "conv13", "fused"}
        assert found["loss"] <= found["allowed"]["loss"] == 0.003
        assert record.metrics[f"exported_test_accuracy_{name}"] == found["accuracy"]


def test_int8_needs_pictures_and_formats_must_exist(
    gentle_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["build", str(gentle_checkpoint), "--out", str(tmp_path / "m" / "1"), "--formats"]
    for formats, message in (
        ("onnx,int8", "there is no --data: int8 is calibrated"),
        ("onnx,coreml", "--formats is onnx,coreml; it must be onnx and may add int8, fp16, torch"),
        ("int8", "it must be onnx and may add"),
        ("onnx,onnx", "each once"),
    ):
        assert main([*command, formats]) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_documents_list_the_formats() -> None:
    assert table() in (ROOT / "README.md").read_text()
    from attnvgg_export.cli import DESCRIPTION

    assert listing() in DESCRIPTION


def maps(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), 2, 2)


def measured(moved: np.ndarray, hits: int = 4) -> tuple[dict[str, object], dict[str, object]]:
    """The reports of a reference with even maps [.7 .1 .1 .1] and of a graph with others."""
    right = maps(*[[0.7, 0.1, 0.1, 0.1]] * 4)
    answers = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]
    changed = np.eye(2, dtype=np.float32)[[0] * hits + [1] * (4 - hits)]

    def runner(probabilities: np.ndarray, map_: np.ndarray) -> held_out.Runner:
        def run(image: np.ndarray) -> dict[str, np.ndarray]:
            chosen = image[:, 0, 0, 0]  # a picture is its own number
            return {"probabilities": probabilities[chosen], "attention_conv10": map_[chosen]}

        return run

    runners = {"onnx": runner(answers, right), "int8": runner(changed, moved)}
    targets = np.zeros(4, np.int64)
    images = np.arange(4, dtype=np.uint8).repeat(12).reshape(4, 2, 2, 3)
    batches = [(images[:3], targets[:3]), (images[3:], targets[3:])]
    found = held_out.measure(runners, "onnx", batches)
    return found["onnx"], found["int8"]


def test_held_out_figures_are_the_definitions() -> None:
    moved = maps(*[[0.7, 0.1, 0.1, 0.1]] * 3, [0.1, 0.7, 0.1, 0.1])
    reference, found = measured(moved, hits=3)
    assert (reference["hits"], found["hits"], found["accuracy"]) == (4, 3, 0.75)
    correlation = np.corrcoef([0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1])[0, 1]
    assert found["correlation"] == {"conv10": pytest.approx((3 + correlation) / 4)}
    assert found["total_variation"] == {"conv10": pytest.approx(0.6 / 4)}


def test_either_correlation_or_variation_is_enough() -> None:
    even = maps(*[[0.25, 0.25, 0.25, 0.25]] * 4)
    close = maps(*[[0.69, 0.11, 0.1, 0.1]] * 4)
    scaled = maps(*[[0.4, 0.2, 0.2, 0.2]] * 4)
    for moved, passes in ((close, True), (scaled, True), (even, False)):
        reference, found = measured(moved)
        if passes:
            held_out.check("int8", found, reference, HeldOut())
        else:
            with pytest.raises(HeldOutError, match=r"conv10 look elsewhere .* correlation 0.0000"):
                held_out.check("int8", found, reference, HeldOut())
    reference, found = measured(close, hits=3)
    with pytest.raises(
        HeldOutError, match=r"3 of 4 held-out pictures are right, with .* 4: a loss"
    ):
        held_out.check("int8", found, reference, HeldOut())
    with pytest.raises(HeldOutError, match=r"correlation 0.0000, mean total variation nan"):
        held_out.check("int8", measured(maps(*[[np.nan] * 4] * 4))[1], reference, HeldOut())


def test_limits() -> None:
    right = {"attention_conv10": maps([0.7, 0.1, 0.1, 0.1]), "descriptor": np.ones((1, 4), "f4")}
    off = {"attention_conv10": maps([0.6, 0.2, 0.1, 0.1]), "descriptor": np.ones((1, 4), "f4")}
    (spread, _) = parity.compare(right, off, Spread(0.11), "x")
    assert spread.largest == pytest.approx(0.1)
    with pytest.raises(ValuesError, match=r"x: attention_conv10 differs by 0.1 in total variation"):
        parity.compare(right, off, Spread(0.09), "x")
    (cells, _) = parity.compare(right, off, Tolerance(0, 0, 0.5), "x")
    assert cells.largest == pytest.approx(0.4)  # as h*w*a
    with pytest.raises(ValuesError, match=r"conv10 \(as h\*w\*a\) differs by 0.4"):
        parity.compare(right, off, Tolerance(9, 0, 0.3), "x")
    # sigmoid's maps have totals of their own: the same share of them is the same spread.
    larger, moved = (
        {**each, "attention_conv10": 50 * each["attention_conv10"]} for each in (right, off)
    )
    (spread, _) = parity.compare(larger, moved, Spread(0.11), "x")
    assert spread.largest == pytest.approx(0.1)
    nan = {**right, "descriptor": np.full((1, 4), np.nan, "f4")}
    for each in (Spread(0.5), Tolerance(9, 9, 9)):
        with pytest.raises(ValuesError, match="descriptor differs by nan"):
            parity.compare(right, nan, each, "x")
    assert limit("onnx", "softmax") == FORMATS["onnx"].limit
    assert limit("onnx", "sparsemax") != FORMATS["onnx"].limit
    assert limit("int8", "sparsemax") == FORMATS["int8"].limit


def test_an_unknown_map_is_one_of_the_graphs(bundle: Path) -> None:
    """A format without a report was put there by somebody else."""
    path = bundle / "manifest.json"
    text = path.read_text()
    data = json.loads(text)
    del data["parity"]["int8"]
    try:
        path.write_text(json.dumps(data))
        assert main(["verify", str(bundle)]) == 1
        with pytest.raises(
            manifest.IntegrityError, match=r"model\.int8\.onnx: .* no parity report"
        ):
            golden.verify(bundle)
    finally:
        path.write_text(text)
