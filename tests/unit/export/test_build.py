"""A bundle computes what the checkpoint computes, for every output, or does not exist."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from attnvgg_bundle import manifest
from attnvgg_export import golden, torchscript
from attnvgg_export.build import build
from attnvgg_export.cli import main
from attnvgg_export.errors import OutputError
from attnvgg_export.graph import ExportGraph, run
from attnvgg_training import checkpoint, models
from support import OUTPUTS


def test_the_graph_gives_the_outputs_of_the_contract(bundle: Path) -> None:
    session = golden.session_of(bundle / "model.onnx")
    assert [(i.name, i.type) for i in session.get_inputs()] == [("image", "tensor(uint8)")]
    assert [o.name for o in session.get_outputs()] == OUTPUTS
    assert {o.type for o in session.get_outputs()} == {"tensor(float)"}
    found = golden.run(session, np.zeros((5, 32, 32, 3), np.uint8))
    assert [found[name].shape[1:] for name in OUTPUTS] == [
        (3,),
        (16, 16),
        (8, 8),
        (4, 4),
        (16, 16),
        (88,),
    ]
    assert np.allclose(found["probabilities"].sum(1), 1, atol=1e-5)
    for name in OUTPUTS[1:5]:
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
    for index, name in enumerate(OUTPUTS):
        scale = expected[name][0].numel() if name.startswith("attention") else 1
        assert np.allclose(found[name] * scale, expected[name] * scale, atol=1e-4)
        assert np.allclose(scripted[index] * scale, expected[name] * scale, atol=1e-4)
        assert expected[name].std(0).max() > 0  # pictures differ, so a constant would not pass


def test_the_manifest_describes_the_bundle(bundle: Path, tiny_checkpoint: Path) -> None:
    found = manifest.read(bundle)
    manifest.verify_files(bundle, found)
    assert (found.name, found.version) == ("tiny", "1")
    assert found.labels == ("circle", "square", "triangle")
    assert [level.grid for level in found.levels] == [(16, 16), (8, 8), (4, 4)]
    assert [level.stride for level in found.levels] == [(2, 2), (4, 4), (8, 8)]
    assert set(found.files) >= {"model.onnx", "model.torchscript.pt", "golden.npz", "MODEL_CARD.md"}
    assert found.parity["onnx"]["batches"] == [1, 2, 3, 7, 32]
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
        assert list(stored.files) == ["image", *OUTPUTS]


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
