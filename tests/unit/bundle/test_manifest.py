"""A bundle is complete if and only if its manifest is there and the hashes agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import (
    File,
    Input,
    IntegrityError,
    Level,
    Manifest,
    ManifestError,
    Output,
)

NAMES = ["probabilities", "attention_conv7", "attention_conv10", "attention_fused", "descriptor"]
SHAPES: list[tuple[int, ...]] = [(3,), (16, 16), (8, 8), (16, 16), (24,)]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    sha256 = manifest.sha256(tmp_path / "model.onnx")
    Manifest(
        name="m",
        version="1",
        labels=("a", "b", "c"),
        input=Input(32, 32, "stretch", "bicubic"),
        outputs=tuple(Output(n, ("batch", *s)) for n, s in zip(NAMES, SHAPES, strict=True)),
        levels=(
            Level("conv7", (16, 16), (2, 2), "softmax"),
            Level("conv10", (8, 8), (4, 4), "softmax"),
        ),
        files={"model.onnx": File(sha256, 7)},
    ).write(tmp_path)
    return tmp_path


def change(bundle: Path, **values: Any) -> None:
    path = bundle / manifest.FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_was_written_is_read(bundle: Path) -> None:
    found = manifest.read(bundle)
    assert found.labels == ("a", "b", "c")
    assert found.outputs[2] == Output("attention_conv10", ("batch", 8, 8))
    assert found.levels[1].grid == (8, 8)
    assert found.attention == {
        "conv7": "attention_conv7",
        "conv10": "attention_conv10",
        "fused": "attention_fused",
    }
    manifest.verify_files(bundle, found)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no complete bundle: it has no manifest\.json"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema_version": 2}, "schema version 2; this attnvgg reads version 1"),
        ({"labels": ["a", "b"]}, "2 labels do not fit the output probabilities"),
        ({"outputs": []}, "not a manifest of schema 1"),
        ({"levels": []}, "they must be probabilities, descriptor"),
        ({"input": {"height": 32}}, "not a manifest of schema 1"),
        (
            {"input": {"height": 32, "width": 32, "geometry": "squash", "filter": "box"}},
            "geometry is 'squash'",
        ),
    ],
)
def test_what_does_not_fit_is_named(bundle: Path, values: dict[str, Any], message: str) -> None:
    change(bundle, **values)
    with pytest.raises(ManifestError, match=message):
        manifest.read(bundle)


@pytest.mark.parametrize("text", ["", "[1]", '"x"', "{", "null"])
def test_anything_but_an_object_is_refused(bundle: Path, text: str) -> None:
    (bundle / manifest.FILE_NAME).write_text(text)
    with pytest.raises(ManifestError):
        manifest.read(bundle)


def test_unknown_fields_are_ignored(bundle: Path) -> None:
    change(bundle, colour="blue")
    assert manifest.read(bundle).name == "m"


def test_one_flipped_byte_is_found(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(IntegrityError, match=r"model\.onnx has sha256"):
        manifest.verify_files(bundle, manifest.read(bundle))


def test_a_missing_file_is_found(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"model\.onnx is missing"):
        manifest.verify_files(bundle, manifest.read(bundle))


def test_one_level_has_no_fused_map_and_none_has_no_maps() -> None:
    assert manifest.output_names(["conv13"]) == ["probabilities", "attention_conv13", "descriptor"]
    assert manifest.output_names([]) == ["probabilities", "descriptor"]
