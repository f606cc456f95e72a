"""A file of the popular port through our checkpoint to a bundle, and networks without levels or
with other ones, served."""

import json
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from attnvgg_bundle import manifest
from attnvgg_export import golden
from attnvgg_export.build import build
from attnvgg_export.cli import main
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from attnvgg_training import checkpoint, models, port, recipes
from attnvgg_training.checkpoint import Record
from attnvgg_training.convert import MEAN, STD, convert
from attnvgg_training.resnet import AttentionResNet
from ported import TINY, forward, random_weights
from support import running

CASES = [("before", "softmax"), ("after", "sigmoid")]


@pytest.mark.parametrize(("tap", "kind"), CASES)
def test_a_file_of_the_port_becomes_a_bundle_with_its_outputs(
    tap: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "WIDTHS", TINY)
    weights = random_weights()
    torch.save({f"module.{k}": v for k, v in weights.items()}, tmp_path / "net.pth")
    convert(tmp_path / "net.pth", tmp_path / "ours", tap, kind, None)
    out = tmp_path / "models" / "port" / "1"
    found = build(tmp_path / "ours", out, ["onnx"])
    assert [level.stride[0] for level in found.levels] == (
        [1, 2, 4] if tap == "before" else [2, 4, 8]
    )
    image = golden.pictures(found.input, 8)
    x = (torch.from_numpy(image).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / (
        torch.tensor(STD)[:, None, None]
    )
    with torch.inference_mode():
        logits, *raw = forward(weights, x, tap == "after", kind == "softmax")
    answers = golden.run(golden.session_of(out / "model.onnx"), image)
    assert np.allclose(answers["probabilities"], logits.softmax(1).numpy(), atol=1e-5)
    for level, c in zip(found.levels, raw, strict=True):
        a = c.flatten(1).softmax(1) if kind == "softmax" else c.flatten(1).sigmoid()
        area = a.shape[1] if kind == "softmax" else 1
        ours = answers[f"attention_{level.name}"].reshape(8, -1)
        assert np.allclose(area * ours, area * a.numpy(), atol=1e-4)
    card = (out / "MODEL_CARD.md").read_text()
    assert "trained elsewhere: they were converted from `net.pth`" in card
    assert main(["verify", str(out)]) == 0


def saved(name: str, folder: Path) -> Path:
    """A checkpoint of a network with random weights."""
    torch.manual_seed(0)
    plan = {"widths": list(TINY), "depths": [1, 1, 1, 1, 1, 0]} if name == "VGG-16-BN" else {}
    recipe = recipes.from_dict({"model": {"name": name, **plan}})
    model = models.build(recipe.model, 3)
    for attention in model.attention.values():
        nn.init.normal_(attention.u, std=0.3)
    for _ in range(3):
        model(torch.randn(16, 3, 32, 32))
    metrics = {"epoch": 1, "seconds": 1.0}
    facts = {"name": "noise", "train": 48, "test": 0, "fingerprint": "0" * 64}
    record = Record(recipe, ("a", "b", "c"), [0.5] * 3, [0.25] * 3, metrics, facts)
    return checkpoint.save(folder, 1, model.state_dict(), record, {})


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/resnet with the levels stage2 and stage3, models/plain with none."""
    home = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as patch:
        small = partial(AttentionResNet, blocks=1, widths=(4, 8, 12, 16))
        patch.setattr(models, "AttentionResNet", small)
        for bundle, name in (("resnet", "ResNet-164-att2-concat-pc"), ("plain", "VGG-16-BN")):
            build(saved(name, home / bundle), home / "models" / bundle / "1", ["onnx"])
    (home / "models" / "default").write_text("resnet\n")
    return home / "models"


def test_manifests_cards_and_triton_name_the_levels_there_are(
    bundles: Path, tmp_path: Path
) -> None:
    resnet, plain = (manifest.read(bundles / name / "1") for name in ("resnet", "plain"))
    assert [(v.name, v.grid, v.stride) for v in resnet.levels] == [
        ("stage2", (16, 16), (2, 2)),
        ("stage3", (8, 8), (4, 4)),
    ]
    assert list(resnet.attention) == ["stage2", "stage3", "fused"]
    assert plain.levels == ()
    assert plain.attention == {}
    assert "stage2 16x16, stage3 8x8" in (bundles / "resnet" / "1" / "MODEL_CARD.md").read_text()
    card = (bundles / "plain" / "1" / "MODEL_CARD.md").read_text()
    assert "no maps, it has no attention" in card
    assert "What the maps are" not in card
    write(bundles, tmp_path / "triton", Options())
    assert '"attention_stage2"' in (tmp_path / "triton" / "resnet" / "config.pbtxt").read_text()
    assert "attention_" not in (tmp_path / "triton" / "plain" / "config.pbtxt").read_text()


def test_the_gateway_serves_other_levels_and_none(bundles: Path, tmp_path: Path) -> None:
    picture = next((Path(golden.__file__).parent / "photos").glob("*.jpg")).read_bytes()
    headers = {"content-type": "image/jpeg"}
    query = {"return_attention": "true", "attention_format": "f32"}
    with running(bundles, tmp_path) as server, httpx.Client(base_url=server.url) as client:
        listed = {m["name"]: m["attention"] for m in client.get("/v1/models").json()["models"]}
        assert listed == {"resnet": ["stage2", "stage3", "fused"], "plain": []}
        for name, levels in listed.items():
            answer = client.post(
                "/v1/predict", content=picture, headers=headers, params={**query, "model": name}
            )
            assert answer.status_code == 200, answer.text
            (prediction,) = answer.json()["predictions"]
            assert list(prediction["attention"]) == levels
            assert prediction["label"] in ("a", "b", "c")
        metadata = client.get("/v2/models/plain").json()
        assert [each["name"] for each in metadata["outputs"]] == ["probabilities", "descriptor"]
        assert "stage3" in json.dumps(client.get("/v2/models/resnet").json())
