"""Which bundle a request means, and which folders are bundles."""

import json
import shutil
from pathlib import Path

import pytest

from attnvgg_serving.errors import ModelNotFound, StartError
from attnvgg_serving.registry import Registry, default_name, scan, version_key


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models, tmp_path / "models"))


def registry() -> Registry[str]:
    found: Registry[str] = Registry(default="a")
    for name, version in [("a", "9"), ("a", "10"), ("b", "1.10"), ("b", "1.9"), ("a", "beta")]:
        found.add(name, version, f"{name}/{version}")
    return found


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        (None, None, "a/10"),
        ("a", None, "a/10"),
        ("a", "9", "a/9"),
        (None, "beta", "a/beta"),
        ("b", None, "b/1.10"),
    ],
)
def test_the_highest_version_is_the_default(
    name: str | None, version: str | None, expected: str
) -> None:
    assert registry().find(name, version) == expected


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("c", None, "no model 'c'; there is a, b"),
        ("a", "3", "a has no version '3'; it has beta, 9"),
    ],
)
def test_unknown_models_are_refused_with_what_there_is(
    name: str, version: str | None, says: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        registry().find(name, version)
    assert says in str(caught.value)


def test_all_lists_the_highest_version_first() -> None:
    assert registry().all() == ["a/10", "a/9", "a/beta", "b/1.10", "b/1.9"]


def test_versions_are_ordered_by_their_numbers() -> None:
    assert sorted(["10", "9", "1.10", "1.9", "x"], key=version_key) == [
        "x",
        "1.9",
        "1.10",
        "9",
        "10",
    ]


def test_scan_finds_complete_bundles_only(models: Path) -> None:
    (models / "tiny" / "2").mkdir()
    (bundle,) = scan(models)
    assert (bundle.manifest.name, bundle.manifest.version) == ("tiny", "1")


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_bundle_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StartError):
        scan(tmp_path / folder)


def test_an_export_in_progress_is_no_bundle(models: Path) -> None:
    """Its manifest is written before the folder gets its name."""
    shutil.copytree(models / "tiny" / "1", models / "tiny" / ".2.tmp-99")
    assert [bundle.manifest.version for bundle in scan(models)] == ["1"]


def test_a_changed_file_is_an_error(models: Path) -> None:
    with (models / "tiny" / "1" / "model.onnx").open("ab") as stream:
        stream.write(b"!")
    with pytest.raises(StartError, match="the file was changed"):
        scan(models)


def test_a_damaged_manifest_is_an_error(models: Path) -> None:
    (models / "tiny" / "1" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(StartError, match="cannot be read"):
        scan(models)


def test_a_bundle_in_the_wrong_folder_is_an_error(models: Path) -> None:
    (models / "tiny" / "1").rename(models / "tiny" / "3")
    with pytest.raises(StartError, match="holds tiny/1; the folders must have those names"):
        scan(models)


def test_where_the_default_comes_from(tmp_path: Path) -> None:
    assert default_name(tmp_path, None, {"only"}) == "only"
    assert default_name(tmp_path, "b", {"a", "b"}) == "b"
    with pytest.raises(StartError, match="must hold one of a, b"):
        default_name(tmp_path, None, {"a", "b"})
    (tmp_path / "default").write_text("a\n", encoding="utf-8")
    assert default_name(tmp_path, None, {"a", "b"}) == "a"
    with pytest.raises(StartError, match=r"ATTNVGG_DEFAULT_MODEL names 'c'; there is a, b"):
        default_name(tmp_path, "c", {"a", "b"})


def test_the_fixture_is_what_the_tests_think(tiny_models: Path) -> None:
    manifest = json.loads((tiny_models / "tiny" / "1" / "manifest.json").read_text("utf-8"))
    assert manifest["labels"] == ["circle", "square", "triangle"]
