"""Settings: read from the environment, refused in one line."""

from pathlib import Path

import pytest

from attnvgg_serving import settings
from attnvgg_serving.errors import StartError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(f"ATTNVGG_{name.upper()}", raising=False)


def test_the_defaults_are_valid() -> None:
    loaded = settings.load()
    assert loaded.models == Path("models")
    assert (loaded.engine, loaded.provider) == ("onnxruntime", "cpu")
    assert loaded.max_body_bytes == 10_000_000


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNVGG_MAX_BATCH", "7")
    monkeypatch.setenv("ATTNVGG_PROVIDER", "cuda")
    loaded = settings.load()
    assert (loaded.max_batch, loaded.provider) == (7, "cuda")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ATTNVGG_MAX_BATCH", "many", "ATTNVGG_MAX_BATCH is 'many'"),
        ("ATTNVGG_MAX_BATCH", "0", "greater than or equal to 1"),
        (
            "ATTNVGG_ENGINE",
            "tpu",
            "ATTNVGG_ENGINE is 'tpu': input should be 'onnxruntime' or 'triton'",
        ),
        ("ATTNVGG_ENGINE", "triton", "engine triton needs the address, such as triton:8001"),
        ("ATTNVGG_TRITON_URL", "http://triton", "ATTNVGG_TRITON_URL is 'http://triton'"),
        ("ATTNVGG_PROVIDER", "tpu", "'cpu', 'cuda' or 'tensorrt'"),
        ("ATTNVGG_TIMEOUT_MS", "3600000", "less than or equal to 60000"),
        ("ATTNVGG_MAX_QUEUE", "3", "ATTNVGG_MAX_IMAGES is 64 and ATTNVGG_MAX_QUEUE 3"),
        ("ATTNVGG_MAX_UPLOAD_BYTES", "5", "ATTNVGG_MAX_BODY_BYTES is 10000000"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught:
        settings.load()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_misspelt_variables_are_found() -> None:
    environ = {"ATTNVGG_MAX_QEUE": "1", "ATTNVGG_MAX_QUEUE": "1", "ATTNVGG_URL": "", "PATH": ""}
    assert settings.unknown(environ) == ["ATTNVGG_MAX_QEUE"]


def test_the_table_describes_every_setting() -> None:
    rows = settings.table().splitlines()[2:]
    assert len(rows) == len(settings.Settings.model_fields)
    assert all(row.count("|") == 4 and "None" not in row for row in rows)
    assert "| `ATTNVGG_MAX_BATCH` | `32` | pictures in one forward pass |" in rows
