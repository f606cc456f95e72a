"""The engine behind the real server: which graph runs is what the operator's file says."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from attnvgg_bundle import manifest
from support import MODELS, RELEASED, Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("bentoml")
    file = home / "attnvgg.toml"
    file.write_text('precision = "int8"\nmax_images = 7\nmax_batch = 4\n')
    settings = {"ATTNVGG_CONFIG": str(file), "ATTNVGG_MAX_IMAGES": "2"}
    with running(MODELS, home, **settings) as server:
        yield server


def ask(server: Server, count: int) -> httpx.Response:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    files = [("file", ("a.png", stream.getvalue(), "image/png"))] * count
    return httpx.post(f"{server.url}/v1/predict", files=files, timeout=60)


def test_the_answer_names_the_graph_that_ran(server: Server) -> None:
    model = ask(server, 1).json()["model"]
    files = manifest.read(RELEASED).files
    assert model["sha256"] == files["model.int8.onnx"].sha256 != files["model.onnx"].sha256
    assert model["provider"] == "cpu"


def test_a_variable_wins_over_the_file(server: Server) -> None:
    assert ask(server, 2).status_code == 200
    refused = ask(server, 3)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_images")


def test_the_worker_uses_the_faster_loop_and_parser(server: Server) -> None:
    maps = [path for path in Path("/proc").glob("[0-9]*/maps") if _is_child(path.parent, server)]
    if not maps:
        pytest.skip("no /proc to see what the worker has loaded")
    loaded = "".join(path.read_text() for path in maps)
    assert "/uvloop/" in loaded
    assert "/httptools/" in loaded


def _is_child(process: Path, server: Server) -> bool:
    try:
        words = (process / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return int(words[1]) == server.process.pid
