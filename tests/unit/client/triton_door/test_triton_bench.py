"""`attnvgg bench` against a Triton over gRPC: the same command, its own timings."""

import json
from pathlib import Path
from typing import Any

import pytest

from attnvgg_client import _cli


def test_bench_over_grpc(
    triton: Any, over_grpc: Any, draw: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(draw.png(100))
    given = ["--concurrency", "2,20", "--requests", "40", "--warmup", "0", "--json"]
    with over_grpc(triton) as url:
        code = _cli.main(["bench", str(picture), "--url", url, *given])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    for row in found["rows"]:
        assert (row["answered"], row["failed"]) == (40, 0)
        assert list(row["server_ms"]) == ["round_trip"]
        assert 0 < row["server_ms"]["round_trip"] <= row["service_ms"]
