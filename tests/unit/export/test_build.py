"""A bundle computes what the checkpoint computes, for every output, or does not exist."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import IntegrityError, ManifestError
from attnvgg_export import build as build_module
from attnvgg_export import golden, onnx_graph, torchscript
from attnvgg_export.build import build
from attnvgg_export.cli import main
from attnvgg_export.errors import AxesError, OutputError, OutputNamesError, ShapeError, ValuesError
from attnvgg_export.graph import ExportGraph, run, without_dead_weight
from attnvgg_training import checkpoint, models

NAMES = [
    "probabilities",
    "attention_conv7",
    "attention_conv10",
    "attention_conv13",
    "attention_fused",
    "descriptor",
]


@pytest.fixture(scope="module")
def bundle(tiny_models: Path) -> Path:
    return tiny_models / "tiny" / "1"


def test_the_graph_gives_the_outputs_of_the_contract(bundle: Path) -> None:
    session = golden.session_of(bundle / "model.onnx")
    assert [(i.name, i.type) for i in session.get_inputs()] == [("image", "tensor(uint8)")]
    assert [o.name for o in session.get_outputs()] == NAMES
    assert {o.type for o in session.get_outputs()} == {"tensor(float)"}
    found = golden.run(session, np.zeros((5, 32, 32, 3), np.uint8))
    assert [found[name].shape[1:] for name in NAMES] == [
        (3,),
        (16, 16),
        (8, 8),
        (4, 4),
        (16, 16),
        (88,),
    ]
    assert np.allclose(found["probabilities"].sum(1), 1, atol=1e-5)
    for name in NAMES[1:5]:
        assert np.allclose(found[name].sum((1, 2)), 1, atol=1e-5)


def test_the_answers_are_those_of_the_uncut_checkpoint(bundle: Path, tiny_checkpoint: Path) -> None:
    model, record = checkpoint.load_model(tiny_checkpoint)
    assert model.global_branch is not None
    image = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    expected = run(ExportGraph(model, record.mean, record.std), torch.from_numpy(image))
    found = golden.run(golden.session_of(bundle / "model.onnx"), image)
    script = torchscript.load(bundle / "model.torchscript.pt")
    with torch.inference_mode():
        scripted = script(torch.from_numpy(image))
    for index, name in enumerate(NAMES):
        scale = expected[name][0].numel() if name.startswith("attention") else 1
        assert np.allclose(found[name] * scale, expected[name] * scale, atol=1e-4)
        assert np.allclose(scripted[index] * scale, expected[name] * scale, atol=1e-4)
        assert expected[name].std(0).max() > 0  # pictures differ, so a constant would not pass


def test_dead_weight_is_cut_and_live_weight_is_not(tiny_checkpoint: Path) -> None:
    model, _ = checkpoint.load_model(tiny_checkpoint)
    cut = without_dead_weight(model)
    assert cut.global_branch is None
    assert models.parameters(cut) < models.parameters(model)
    control = models.build(models.ModelConfig("VGG-control", widths=(8, 12, 24, 32, 32)), 3)
    assert without_dead_weight(control.eval()) is control


def test_the_manifest_describes_the_bundle(bundle: Path, tiny_checkpoint: Path) -> None:
    found = manifest.read(bundle)
    manifest.verify_files(bundle, found)
    assert (found.name, found.version) == ("tiny", "1")
    assert found.labels == ("circle", "square", "triangle")
    assert [level.grid for level in found.levels] == [(16, 16), (8, 8), (4, 4)]
    assert [level.stride for level in found.levels] == [(2, 2), (4, 4), (8, 8)]
    assert set(found.files) >= {"model.onnx", "model.torchscript.pt", "golden.npz", "MODEL_CARD.md"}
    assert found.parity["onnx"]["batches"] == [1, 2, 3, 32]
    weights = tiny_checkpoint / "model.safetensors"
    assert found.provenance["checkpoint_sha256"] == manifest.sha256(weights)
    assert json.loads((bundle / "parity.json").read_text()) == found.parity
    assert {path.name for path in bundle.iterdir()} == {*found.files, "manifest.json"}


def test_the_onnx_file_explains_itself(bundle: Path, tiny_checkpoint: Path) -> None:
    model = onnx.load(str(bundle / "model.onnx"))
    properties = {each.key: each.value for each in model.metadata_props}
    assert json.loads(properties["labels"]) == ["circle", "square", "triangle"]
    assert (properties["name"], properties["version"]) == ("tiny", "1")
    assert json.loads(properties["input"])["geometry"] == "stretch"
    assert properties["license"] == "Apache-2.0"
    weights = tiny_checkpoint / "model.safetensors"
    assert properties["checkpoint_sha256"] == manifest.sha256(weights)
    assert {each.domain: each.version for each in model.opset_import}[""] >= 20


def test_golden_pictures_are_photos_and_noise_with_pytorchs_answers(bundle: Path) -> None:
    with np.load(bundle / "golden.npz", allow_pickle=False) as stored:
        assert stored["image"].shape == (16, 32, 32, 3)
        assert stored["image"].dtype == np.uint8
        assert list(stored.files) == ["image", *NAMES]


def corrupt_weight(graph: ExportGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the convolutions' weights; the reference keeps its own."""
    with torch.no_grad():
        graph.model.units[5][0].weight[0, 0, 1, 1] += 1


def drop_normalisation(graph: ExportGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.mean, graph.std = [0.0] * 3, [1.0] * 3


def shift_map(graph: ExportGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        outputs[2] = outputs[2].roll(1, dims=2)
        return tuple(outputs)

    monkeypatch.setattr(graph, "forward", forward)


def swap_classes(graph: ExportGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    head = graph.model.head.classify
    with torch.no_grad():
        head.weight.copy_(head.weight[[1, 0, 2]])


def reorder_outputs(graph: ExportGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = list(ExportGraph.forward(graph, image))
        return (*outputs[:2], outputs[4], outputs[3], outputs[2], outputs[5])

    monkeypatch.setattr(graph, "forward", forward)


@pytest.mark.parametrize(
    ("corrupt", "error", "message"),
    [
        (corrupt_weight, ValuesError, "onnx at batch 1: probabilities differs by"),
        (drop_normalisation, ValuesError, "onnx at batch 1: probabilities differs by"),
        (shift_map, ValuesError, r"onnx at batch 1: attention_conv10 \(as h\*w\*a\) differs by"),
        (swap_classes, ValuesError, "onnx at batch 1: probabilities differs by"),
        (reorder_outputs, ShapeError, "attention_conv10 is float32"),
    ],
)
def test_a_graph_that_differs_is_refused_and_nothing_is_left(
    corrupt: object,
    error: type[Exception],
    message: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = without_dead_weight

    def corrupted(model: object) -> object:
        return honest(model)  # type: ignore[arg-type]

    def export(graph: ExportGraph, *rest: object) -> onnx.ModelProto:
        corrupt(graph, monkeypatch)  # type: ignore[operator]
        return real(graph, *rest)  # type: ignore[arg-type]

    real = onnx_graph.export
    monkeypatch.setattr(build_module, "without_dead_weight", corrupted)
    monkeypatch.setattr(onnx_graph, "export", export)
    with pytest.raises(error, match=message):
        build(tiny_checkpoint, tmp_path / "models" / "m" / "1", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_frozen_batch_axis_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnx_graph.export

    def frozen(*arguments: object) -> onnx.ModelProto:
        model = real(*arguments)  # type: ignore[arg-type]
        axis = model.graph.input[0].type.tensor_type.shape.dim[0]
        axis.Clear()
        axis.dim_value = 2
        return model

    monkeypatch.setattr(onnx_graph, "export", frozen)
    with pytest.raises(AxesError, match=r"image has shape .*: its batch axis must be free"):
        build(tiny_checkpoint, tmp_path / "m" / "1", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_output_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnx_graph.export

    def short(*arguments: object) -> onnx.ModelProto:
        model = real(*arguments)  # type: ignore[arg-type]
        del model.graph.output[-1]
        return model

    monkeypatch.setattr(onnx_graph, "export", short)
    with pytest.raises(OutputNamesError, match="expected probabilities"):
        build(tiny_checkpoint, tmp_path / "m" / "1", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_the_output_folder_must_be_new_and_named_after_a_version(
    tiny_checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    before = manifest.sha256(bundle / "manifest.json")
    with pytest.raises(OutputError, match="exists; a bundle is never changed"):
        build(tiny_checkpoint, bundle)
    assert manifest.sha256(bundle / "manifest.json") == before
    with pytest.raises(OutputError, match="must end in NAME/VERSION"):
        build(tiny_checkpoint, tmp_path / "models" / "latest")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        build(tiny_checkpoint, tmp_path / "file" / "1")


def test_a_network_without_attention_has_no_maps(tmp_path: Path, tiny_checkpoint: Path) -> None:
    _, record = checkpoint.load_model(tiny_checkpoint)
    config = record.config
    plan = models.ModelConfig("VGG-control", config.model.widths, config.model.pools)
    control = models.build(plan, 3).eval()
    values = {**vars(record), "config": type(config)(plan, config.data, config.train)}
    folder = checkpoint.save(
        tmp_path / "run", 0, control.state_dict(), checkpoint.Record(**values), {}
    )
    found = build(folder, tmp_path / "control" / "1", ["onnx"])
    assert found.levels == ()
    assert [output.name for output in found.outputs] == ["probabilities", "descriptor"]
    assert main(["verify", str(tmp_path / "control" / "1")]) == 0


def test_big_graphs_are_cut_into_parts(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "PART_BYTES", 100_000)
    files = onnx_graph.save(onnx.load(str(bundle / "model.onnx")), tmp_path / "model.onnx")
    assert len(files) > 2
    assert all(path.stat().st_size <= 100_000 + 16_384 for path in files[1:])
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    image = golden.pictures(manifest.read(bundle).input, 4)
    whole = golden.run(golden.session_of(bundle / "model.onnx"), image)
    parts = golden.run(golden.session_of(tmp_path / "model.onnx"), image)
    assert all(np.array_equal(whole[name], parts[name]) for name in NAMES)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "tiny" / "1"))


def test_verify_accepts_what_was_exported(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: largest difference" in printed for name in NAMES)


def test_verify_finds_a_flipped_byte(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    assert main(["verify", str(copy)]) == 1
    assert "IntegrityError" in capsys.readouterr().err
    with pytest.raises(IntegrityError, match=r"model\.onnx has sha256"):
        golden.verify(copy)


def test_verify_finds_a_graph_that_answers_otherwise(copy: Path) -> None:
    """Even when its hash was brought up to date."""
    path = copy / "model.onnx"
    model = onnx.load(str(path))
    weight = next(i for i in model.graph.initializer if len(i.raw_data) > 10_000)
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values *= 1.5
    weight.raw_data = values.tobytes()
    onnx.save(model, str(path))
    record = json.loads((copy / "manifest.json").read_text())
    record["files"]["model.onnx"]["sha256"] = manifest.sha256(path)
    (copy / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(ValuesError, match=r"model\.onnx on golden\.npz"):
        golden.verify(copy)


def test_verify_finds_labels_that_were_swapped(copy: Path) -> None:
    """In the manifest, which has no hash of its own."""
    path = copy / "manifest.json"
    record = json.loads(path.read_text())
    record["labels"] = [record["labels"][i] for i in (1, 0, 2)]
    path.write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="the graph's own labels"):
        golden.verify(copy)
    assert main(["verify", str(copy)]) == 1


def test_inspect_says_what_it_is_and_what_it_is_not(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert "bundle    tiny version 1" in printed
    assert "attention_conv10 ['batch', 8, 8]" in printed
    (copy / "manifest.json").unlink()
    assert main(["inspect", str(copy)]) == 2
    with pytest.raises(ManifestError):
        manifest.read(copy)


def test_the_command_builds_and_scores(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = Path(__file__).parents[2] / "data" / "shapes"
    notes = tmp_path / "notes.md"
    notes.write_text("## Beside it\n\nNothing.\n")
    out = tmp_path / "models" / "m" / "3"
    command = ["build", str(tiny_checkpoint), "--out", str(out), "--formats", "onnx"]
    assert main([*command, "--data", str(shapes), "--notes", str(notes)]) == 0
    assert "parity    onnx: at most" in capsys.readouterr().out
    found = manifest.read(out)
    assert found.metrics["exported_test_pictures"] == 24
    assert "## Beside it" in (out / "MODEL_CARD.md").read_text()
    assert not (out / "model.torchscript.pt").exists()
    assert main(["build", str(tiny_checkpoint), "--out", str(out), "--formats", "coreml"]) == 2
    assert "--formats is coreml" in capsys.readouterr().err


def test_inspect_and_verify_run_without_torch(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from attnvgg_export.cli import main\n"
        "sys.exit(main(['verify', sys.argv[1]]) or main(['inspect', sys.argv[1]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
