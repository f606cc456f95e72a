"""Several models and versions in the real process: swapped, refused, unloaded, under load."""

import base64
import hashlib
import io
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from attnvgg_bundle import manifest as manifests
from golden_bundle import change_golden, change_hash, golden_bundle
from support import Server, changed_checkpoint, running

KEY = "a key of the operator"
ADMIN = {"Authorization": f"Bearer {KEY}"}
MAPS = {"return_attention": "true", "attention_format": "f32", "top_k": "3"}
PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(4)
]


@pytest.fixture(scope="session")
def second_version(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny/2: the tiny network with another head, and maps that look elsewhere."""
    from attnvgg_export.build import build

    def change(weights: dict[str, Any]) -> None:
        for name, value in weights.items():
            if name.endswith(".u"):
                value *= -1

    run = changed_checkpoint(tiny_checkpoint, tmp_path_factory.mktemp("second"), change)
    folder = tmp_path_factory.mktemp("models") / "tiny" / "2"
    build(run, folder)
    return folder


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models, tmp_path / "models"))


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys"
    path.write_text(f"operator sha256:{hashlib.sha256(KEY.encode()).hexdigest()} admin\n")
    return str(path)


def put(source: Path, folder: Path) -> Path:
    """As an operator should: copied beside, renamed into place."""
    beside = shutil.copytree(source, folder.with_name(f".{folder.name}.tmp"))
    return Path(Path(beside).rename(folder))


def png(picture: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def ask(client: httpx.Client | Server, picture: int = 0, **query: str) -> httpx.Response:
    url = f"{client.url}/v1/predict" if isinstance(client, Server) else "/v1/predict"
    post = httpx.post if isinstance(client, Server) else client.post
    body, headers = png(PICTURES[picture]), {"Content-Type": "image/png"}
    return post(url, content=body, headers=headers, params=query, timeout=60)


def change(server: Server, name: str, verb: str) -> httpx.Response:
    url = f"{server.url}/v2/repository/models/{name}/{verb}"
    return httpx.post(url, headers=ADMIN, timeout=120)


def index(server: Server) -> dict[str, tuple[str, str]]:
    entries = httpx.post(f"{server.url}/v2/repository/index", timeout=60).json()
    return {f"{e['name']}/{e['version']}": (e["state"], e["reason"]) for e in entries}


def version(server: Server) -> str:
    answer = ask(server)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


def right(folder: Path) -> tuple[str, list[dict[str, NDArray[np.float32]]]]:
    """The sha256 of a bundle's graph, and what ONNX Runtime gets out of it for each picture."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    names = [output.name for output in session.get_outputs()]
    found = [
        dict(zip(names, session.run(names, {"image": p[None]}), strict=True)) for p in PICTURES
    ]
    return manifests.read(folder).files["model.onnx"].sha256, found


def check(answer: Any, expected: dict[str, NDArray[np.float32]]) -> None:
    (prediction,) = answer["predictions"]
    for label in prediction["top_k"]:
        right = expected["probabilities"][0, label["index"]]
        assert label["probability"] == pytest.approx(right, abs=1e-4)
    for name, map in prediction["attention"].items():
        values = np.frombuffer(base64.b64decode(map["data"]), "<f4").reshape(map["shape"])
        np.testing.assert_allclose(values, expected[f"attention_{name}"][0], atol=1e-5)


@dataclass
class Load:
    """Eight clients that ask all the time, each for one picture after the other."""

    server: Server
    query: dict[str, str]
    answers: list[tuple[int, httpx.Response]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int) -> None:
        with httpx.Client(base_url=self.server.url) as client:
            turn = number
            while not self._over.is_set():
                self.answers.append((turn % 4, ask(client, turn % 4, **self.query)))
                turn += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(8) as clients:
            futures = [clients.submit(self.client, number) for number in range(8)]
            try:
                yield
                time.sleep(0.5)
            finally:
                self._over.set()
        for future in futures:
            future.result()


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def workers(server: Server) -> list[int]:
    """The pids of the processes that serve."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == server.process.pid and b"worker.service" in command:
            found.append(int(stat.parent.name))
    return sorted(found)


def run_folder(pid: int) -> Path:
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    found = re.search(r"_ATTNVGG_RUN_FOLDER=([^\0]+)", environment)
    assert found
    return Path(found[1])


def test_hot_swap_under_load_fails_no_request(
    models: Path, second_version: Path, tmp_path: Path
) -> None:
    """A new version, then another bundle of the same version; found by looking."""
    first, second = models / "tiny" / "1", second_version
    truth = {"1": right(first), "2": right(second)}
    with running(models, tmp_path, ATTNVGG_POLL_S="0.2") as server:
        load = Load(server, MAPS)
        with load.running():
            until(lambda: len(load.answers) > 50)
            put(second, models / "tiny" / "2")
            until(lambda: version(server) == "2")
            shutil.rmtree(models / "tiny" / "2")
            until(lambda: version(server) == "1")
            (models / "tiny" / "1").rename(models / "tiny" / ".old")
            _as_version(second, models / "tiny" / "1", "1")
            until(lambda: ask(server).json()["model"]["sha256"] == truth["2"][0])
        # The first of tiny/1 and tiny/2, long before the time at which any request is over.
        until(lambda: server.log.read_text().count(" is closed") == 2, seconds=30)
    seen: Counter[tuple[str, str]] = Counter()
    for picture, answer in load.answers:
        assert answer.status_code == 200, answer.text
        model = answer.json()["model"]
        (truly,) = [key for key, (sha256, _) in truth.items() if sha256 == model["sha256"]]
        assert (model["version"], truly) in {("1", "1"), ("2", "2"), ("1", "2")}
        check(answer.json(), truth[truly][1][picture])
        seen[model["version"], truly] += 1
    assert len(seen) == 3, seen
    assert not re.search("Traceback|ERROR", server.log.read_text())


def _as_version(source: Path, folder: Path, version: str) -> None:
    """The same bundle under another version."""
    beside = folder.with_name(f".{folder.name}.tmp")
    shutil.copytree(source, beside)
    path = beside / manifests.FILE_NAME
    path.write_text(path.read_text("utf-8").replace('"version": "2"', f'"version": "{version}"'))
    beside.rename(folder)


def test_versions_side_by_side_the_highest_is_the_default(
    models: Path, second_version: Path, tmp_path: Path
) -> None:
    put(second_version, models / "tiny" / "2")
    golden_bundle(models / "plain" / "10")
    golden_bundle(models / "plain" / "9")
    with running(models, tmp_path) as server:
        queries: list[tuple[dict[str, Any], tuple[str, str]]] = [
            ({}, ("tiny", "2")),
            ({"version": "1"}, ("tiny", "1")),
            ({"model": "tiny"}, ("tiny", "2")),
            ({"model": "plain"}, ("plain", "10")),
            ({"model": "plain", "version": "9"}, ("plain", "9")),
        ]
        for query, expected in queries:
            model = ask(server, **query).json()["model"]
            assert (model["name"], model["version"]) == expected
        for folder in ("1", "2"):
            truth = right(models / "tiny" / folder)[1]
            check(ask(server, 3, version=folder, **MAPS).json(), truth[3])
        missing = ask(server, version="3")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
        listed = httpx.get(f"{server.url}/v1/models").json()["models"]
        assert [f"{m['name']}/{m['version']}" for m in listed if m["default"]] == ["tiny/2"]


def test_a_broken_version_is_refused_and_the_old_one_serves_on(
    models: Path, second_version: Path, keys: str, tmp_path: Path
) -> None:
    with running(models, tmp_path, ATTNVGG_API_KEYS=keys) as server:
        for damage, says in [
            (change_hash, "tiny/2: model.onnx has sha256"),
            (change_golden, "tiny/2 on golden.npz (cpu, fp32): probabilities differs by"),
        ]:
            damage(put(second_version, models / "tiny" / "2"))
            answer = change(server, "tiny", "load")
            assert answer.status_code == 400
            assert says in answer.json()["error"]
            state, reason = index(server)["tiny/2"]
            assert (state, says in reason) == ("UNAVAILABLE", True)
            assert index(server)["tiny/1"] == ("READY", "")
            assert version(server) == "1"
            shutil.rmtree(models / "tiny" / "2")
        put(second_version, models / "tiny" / "2")
        assert change(server, "tiny", "load").status_code == 200
        assert version(server) == "2"
        assert index(server)["tiny/2"] == ("READY", "")


def test_unloading_under_load_answers_what_is_in_flight(
    models: Path, keys: str, tmp_path: Path
) -> None:
    golden_bundle(models / "plain" / "1")
    with running(models, tmp_path, ATTNVGG_API_KEYS=keys) as server:
        load, started = Load(server, MAPS), threading.Event()

        def slowly() -> Iterator[bytes]:
            """A body that is not there yet when the model is unloaded."""
            body = png(PICTURES[0])
            yield body[:100]
            started.set()
            until(lambda: any(answer.status_code == 404 for _, answer in load.answers))
            time.sleep(0.5)
            yield body[100:]

        def upload() -> httpx.Response:
            headers = {"Content-Type": "image/png"}
            url = f"{server.url}/v1/predict"
            return httpx.post(url, content=slowly(), headers=headers, timeout=60)

        with ThreadPoolExecutor(1) as slow, load.running():
            until(lambda: len(load.answers) > 50)
            in_flight = slow.submit(upload)
            assert started.wait(30)
            assert change(server, "tiny", "unload").status_code == 200
            gone = ask(server)
            assert gone.json()["error"]["message"] == "there is no model 'tiny'; there is plain"
            assert in_flight.result().status_code == 200
        assert {answer.status_code for _, answer in load.answers} == {200, 404}
        assert {
            answer.json()["error"]["code"]
            for _, answer in load.answers
            if answer.status_code == 404
        } == {"model_not_found"}
        assert index(server)["tiny/1"] == ("UNAVAILABLE", "unloaded")
        assert change(server, "tiny", "load").status_code == 200
        assert version(server) == "1"


def test_changes_need_the_key_of_an_admin(models: Path, tmp_path: Path, keys: str) -> None:
    with running(models, tmp_path, ATTNVGG_API_KEYS=keys) as server:
        answer = httpx.post(f"{server.url}/v2/repository/models/tiny/unload")
        assert answer.status_code in {401, 403}
        assert version(server) == "1"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc to find workers in")
def test_workers_agree_and_still_do_after_one_was_killed(
    models: Path, second_version: Path, keys: str, tmp_path: Path
) -> None:
    golden_bundle(models / "plain" / "1")
    with running(models, tmp_path, ATTNVGG_API_KEYS=keys, ATTNVGG_WORKERS="2") as server:
        until(lambda: bool(workers(server)))
        folder = run_folder(workers(server)[0])
        until(lambda: _two_joined(server, folder))
        put(second_version, models / "tiny" / "2")
        assert change(server, "tiny", "load").status_code == 200
        assert change(server, "plain", "unload").status_code == 200
        _assert_all_say(server, "2")

        _as_version(second_version, models / "tiny" / "3", "3")  # and nobody is told
        killed = workers(server)[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in workers(server) and _two_joined(server, folder))
        _assert_all_say(server, "2")
        shutil.rmtree(models / "tiny" / "3")
        shutil.rmtree(models / "tiny" / "2")
        assert change(server, "tiny", "load").status_code == 200
        _assert_all_say(server, "1")
        assert folder.is_dir()
    assert not folder.exists()


def _two_joined(server: Server, folder: Path) -> bool:
    """Both serve all of what was decided."""
    found = workers(server)
    return len(found) == 2 and set(found) <= {int(path.stem) for path in folder.glob("*.done")}


def _assert_all_say(server: Server, expected: str) -> None:
    """Every request, on connections of their own that any worker may take."""
    with ThreadPoolExecutor(8) as clients:
        assert set(clients.map(lambda _: version(server), range(60))) == {expected}
        answers = list(clients.map(lambda _: ask(server, model="plain"), range(30)))
        states = list(clients.map(lambda _: index(server)["plain/1"], range(30)))
    assert {answer.status_code for answer in answers} == {404}
    assert set(states) == {("UNAVAILABLE", "unloaded")}
