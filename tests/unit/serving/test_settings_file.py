"""The settings file: read, beaten by the environment, refused in one line."""

import sys
from pathlib import Path

import pytest

from attnvgg_serving import settings
from attnvgg_serving.errors import StartError
from support import ROOT


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*settings.Settings.model_fields, "config"):
        monkeypatch.delenv(f"ATTNVGG_{name.upper()}", raising=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that ATTNVGG_CONFIG names; the test writes it."""
    path = tmp_path / "attnvgg.toml"
    monkeypatch.setenv("ATTNVGG_CONFIG", str(path))
    return path


def refused() -> str:
    with pytest.raises(StartError) as caught:
        settings.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_file_is_read_and_the_environment_wins(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('max_batch = 7\nmax_queue = 99\nmodels = "elsewhere"\n')
    monkeypatch.setenv("ATTNVGG_MAX_QUEUE", "100")
    loaded = settings.load()
    assert (loaded.max_batch, loaded.max_queue, loaded.models) == (7, 100, Path("elsewhere"))
    assert settings.Settings(max_batch=3).max_batch == 3


def test_every_setting_may_stand_in_the_file(file: Path) -> None:
    keys = Path(file.parent / "keys")
    values = {
        name: field.default
        for name, field in settings.Settings.model_fields.items()
        if field.default is not None
    } | {"default_model": "tiny", "api_keys": keys, "cors_origins": ["https://a.example"]}
    file.write_text("\n".join(f"{name} = {toml(value)}" for name, value in values.items()))
    loaded = settings.load()
    assert {name: getattr(loaded, name) for name in values} == {
        **values,
        "cors_origins": ("https://a.example",),
    }


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(str(value)) if isinstance(value, str | Path) else str(value)


def test_where_each_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("max_batch = 7\nmax_queue = 99\n")
    monkeypatch.setenv("attnvgg_max_queue", "100")  # as pydantic reads it
    assert settings.origin("max_batch") == str(file)
    assert settings.origin("max_queue") == "attnvgg_max_queue"
    assert settings.origin("workers") == "default"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_qeue = 3\n", "has 'max_qeue', which is no setting; nearest: max_queue"),
        ("MAX_QUEUE = 3\n", "has 'MAX_QUEUE', which is no setting; nearest: max_queue"),
        ("ATTNVGG_MAX_BATCH = 3\n", "has 'ATTNVGG_MAX_BATCH', which is no setting; nearest: max_b"),
        ("[limits]\nmax_batch = 3\n", "has 'limits', which is no setting"),
        ("max_batch: 3\n", "which is no TOML: expected '=' after a key"),
        ("max_batch = 3\nmax_batch = 4\n", "which is no TOML: cannot overwrite a value (at line 2"),
        ("\udcff", "which is no TOML: "),
        ("max_batch = 'many'\n", "attnvgg.toml is 'many': input should be a valid integer"),
        ("max_batch = 0\n", "max_batch in "),
        ("max_images = 9\nmax_queue = 3\n", "ATTNVGG_MAX_IMAGES is 9 and ATTNVGG_MAX_QUEUE 3"),
        ("precision = 'int8'\nprovider = 'cuda'\n", "no 8-bit convolutions"),
        ("precision = 'bf16'\n", "'fp32', 'int8' or 'fp16'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(file: Path, text: str, says: str) -> None:
    file.write_text(text, errors="surrogateescape")
    found = refused()
    assert says in found
    assert "ATTNVGG_MAX_IMAGES" in found or "8-bit" in found or str(file) in found


def test_a_file_that_is_not_there_is_an_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused() == f"ATTNVGG_CONFIG is {str(file)!r}: no such file or directory"
    monkeypatch.setenv("ATTNVGG_CONFIG", str(tmp_path))
    if sys.platform != "win32":
        assert refused() == f"ATTNVGG_CONFIG is {str(tmp_path)!r}: is a directory"
    monkeypatch.setenv("ATTNVGG_CONFIG", "")
    assert refused().startswith("ATTNVGG_CONFIG is '': ")


def test_the_file_is_not_a_misspelt_setting() -> None:
    assert settings.unknown({"ATTNVGG_CONFIG": "x"}) == []


def test_the_document_is_the_table() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert settings.table() in text
