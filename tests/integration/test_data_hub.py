"""hub:OWNER/NAME through the unmodified huggingface_hub, against a hub of our own.

The hub's address is read when huggingface_hub is imported, so each load is a process.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlparse

import pytest

from tiny_pictures import png

pytest.importorskip("huggingface_hub")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COMMIT = "c0ffee" + "0" * 34
LOAD = """
import sys
from attnvgg_training import data
from attnvgg_training.config import DataConfig
from attnvgg_training.errors import DataError
for source in sys.argv[1:]:
    try:
        found = data.load(source, DataConfig(image_size=8))
        print(found.name, len(found.train), len(found.test), *found.labels)
    except DataError as error:
        print("DataError:", error)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """What snapshot_download asks: the revision, its tree, and the files."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        if path == "/api/datasets/insects/small/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            self.answer({"id": "insects/small", "sha": COMMIT, "siblings": siblings})
        elif path == f"/api/datasets/insects/small/tree/{COMMIT}":
            self.answer(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": f"{i:040}"}
                    for i, (name, body) in enumerate(self.files.items())
                ]
            )
        elif (name := path.partition(f"/resolve/{COMMIT}/")[2]) in self.files:
            oid = f"{list(self.files).index(name):040}"
            self.send(self.files[name], {"ETag": f'"{oid}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    def answer(self, value: Any) -> None:
        self.send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def parquet(seeds: range) -> bytes:
    rows = [{"bytes": png(seed), "path": None} for seed in seeds]
    table = pa.table({"image": rows, "label": ["ant" if s % 2 else "bee" for s in seeds]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.files = {
        "README.md": b"not asked for",
        "plain/train-0.parquet": parquet(range(6)),
        "plain/test-0.parquet": parquet(range(6, 10)),
        "other/train-0.parquet": parquet(range(4)),
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def load(home: Path, endpoint: str, *sources: str) -> list[str]:
    settings = {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *sources],
        env=os.environ | settings | {"ATTNVGG_DATA": str(home / "data")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.network
def test_parquet_comes_from_the_hub_and_stays(hub: str, tmp_path: Path) -> None:
    ready, several, missing = load(
        tmp_path, hub, "hub:insects/small/plain", "hub:insects/small", "hub:insects/none"
    )
    assert ready == "insects/small 6 4 ant bee"
    assert several.startswith("DataError: ")
    assert "several folders, other, plain; name one of them" in several
    assert missing.startswith("DataError: hub:insects/none cannot be downloaded: ")
    held = {path.name for path in (tmp_path / "hf").rglob("*") if path.is_symlink()}
    assert "README.md" not in held
    assert "train-0.parquet" in held

    nobody = "http://127.0.0.1:9"
    again, unreachable, unnamed = load(
        tmp_path, nobody, "hub:insects/small/plain", "hub:insects/more", "hub:insects"
    )
    assert again == ready
    assert unreachable.startswith("DataError: hub:insects/more cannot be downloaded: ")
    assert unnamed.endswith("names no data set; it must be hub:OWNER/NAME")
