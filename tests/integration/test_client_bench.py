"""`attnvgg bench` against the real gateway process."""

import json
from pathlib import Path

import pytest

from attnvgg_client import _cli
from support import ROOT, running

PICTURES = ROOT / "tests" / "data" / "shapes" / "test"
Output = pytest.CaptureFixture[str]


def test_both_loops_against_the_gateway(gateway: str, tmp_path: Path, capsys: Output) -> None:
    given = [str(PICTURES), "--duration", "2", "--warmup", "0.5", "--attention", "--json"]
    plot = tmp_path / "out.png"
    for how, values in (("--rate", [10, 20]), ("--concurrency", [1, 4])):
        listed = ",".join(map(str, values))
        code = _cli.main(["bench", "--url", gateway, how, listed, "--plot", str(plot), *given])
        found = json.loads(capsys.readouterr().out)
        assert code == 0, found["rows"]
        assert found["model"]["name"] == "tiny"
        assert found["pictures"]["count"] == len(list(PICTURES.rglob("*.png")))
        for row, value in zip(found["rows"], values, strict=True):
            assert row[how[2:]] == value
            assert row["answered"] == row["requests"] > 5
            if how == "--rate":
                assert row["requests"] == 2 * value
            assert 0 < row["server_ms"]["total"] < row["service_ms"]
            assert row["latency_ms"]["p50"] <= row["latency_ms"]["max"] < 30_000
            assert len(row["models"]) == 1
        assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_batch_in_a_request(gateway: str, capsys: Output) -> None:
    given = ["--concurrency", "2", "--requests", "10", "--batch", "8", "--warmup", "0", "--json"]
    assert _cli.main(["bench", "--url", gateway, *given]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["answered"] == 10
    assert row["pictures_per_s"] == pytest.approx(8 * row["requests_per_s"])


def test_refusals(gateway: str, capsys: Output) -> None:
    assert _cli.main(["bench", "--url", gateway, "--rate", "5", "--model", "none"]) == 4
    assert "model_not_found" in capsys.readouterr().err
    given = ["--url", gateway, "--rate", "5", "--batch", "100"]
    assert _cli.main(["bench", *given]) == 4
    assert "too_many_images" in capsys.readouterr().err


def test_an_overloaded_gateway_is_counted(
    tiny_models: Path, tmp_path: Path, capsys: Output
) -> None:
    settings = {"ATTNVGG_MAX_IMAGES": "1", "ATTNVGG_MAX_QUEUE": "1", "ATTNVGG_MAX_BATCH": "1"}
    with running(tiny_models, tmp_path, **settings) as server:
        given = [str(PICTURES), "--concurrency", "12", "--requests", "200", "--warmup", "0"]
        code = _cli.main(["bench", "--url", server.url, *given, "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert code == 1
    assert set(row["failures"]) == {"overloaded"}
    assert row["answered"] > 0
    assert row["answered"] + row["failed"] == row["requests"] == 200
