"""The gateway before a Triton that is slow, full, gone, back, or another than it should be."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from attnvgg_export import golden
from attnvgg_export.triton_options import Options
from attnvgg_export.triton_repository import write
from support import Server, end, running
from triton_server import Triton

pytestmark = pytest.mark.network

CAT = (Path(golden.__file__).with_name("photos") / "cat.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
QUEUE_S = 0.4  # Triton waits so long for a second picture


@pytest.fixture(scope="module")
def triton(
    triton_environment: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Triton]:
    home = tmp_path_factory.mktemp("triton")
    options = Options("python", queue_delay_us=int(QUEUE_S * 1e6), max_queue=2, threads=1)
    write(tiny_models, home / "repository", options)
    server = Triton(triton_environment, home, home / "repository")
    server.wait()
    yield server
    server.end()


@pytest.fixture(scope="module")
def gateway(
    triton: Triton, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = {"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": triton.grpc}
    with running(tiny_models, tmp_path_factory.mktemp("remote"), **settings) as server:
        yield server


def ask(gateway: Server, timeout_ms: int = 30_000) -> httpx.Response:
    headers = JPEG | {"X-Timeout-Ms": str(timeout_ms)}
    return httpx.post(f"{gateway.url}/v1/predict", content=CAT, headers=headers, timeout=60)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"]) if answer.status_code != 200 else "ok"


def test_an_answer_says_what_ran(gateway: Server) -> None:
    answer = ask(gateway).json()
    assert answer["model"]["provider"] == "triton:python:cpu"
    assert answer["timings_ms"]["inference"] >= QUEUE_S * 1000


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc to look into")
def test_no_worker_has_onnxruntime_in_its_memory(gateway: Server) -> None:
    files = gateway.log.parent.rglob("gauge_livesum_*.db")
    pids = {file.stem.rsplit("_", 1)[1] for file in files}
    assert pids
    for pid in pids:
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "grpc" in maps
        assert "onnxruntime" not in maps


def test_the_doctor_says_what_triton_serves(triton: Triton, tiny_models: Path) -> None:
    settings = {"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": triton.grpc}
    settings |= {"ATTNVGG_MODELS": str(tiny_models), "BENTOML_HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "attnvgg_serving.cli", "doctor"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"at {triton.grpc} serves tiny/1, tiny-decode/1, tiny-encoded/1" in done.stdout
    assert "fp32 on triton:python:cpu agrees with golden.npz" in done.stdout
    assert "no onnxruntime is needed" in done.stdout


def test_a_deadline_is_passed_on(gateway: Server, triton: Triton) -> None:
    """Triton drops what nobody waits for: its own count of answers does not grow."""

    def counted() -> int:
        stats = triton.client.get("/v2/models/tiny/stats").json()["model_stats"][0]
        return int(stats["inference_count"])

    before = counted()
    answer = ask(gateway, timeout_ms=100)
    assert (answer.status_code, code(answer)) == (504, "deadline_exceeded")
    time.sleep(2 * QUEUE_S)
    assert counted() == before
    assert ask(gateway).status_code == 200
    until(lambda: counted() == before + 1)  # Triton may count after it has answered


def test_a_full_queue_is_overload(gateway: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(gateway), range(8)))
    codes = Counter(code(answer) for answer in answers)
    assert set(codes) == {"ok", "overloaded"}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def test_when_triton_goes_requests_fail_fast_and_when_it_is_back_they_do_not(
    gateway: Server, triton: Triton
) -> None:
    codes: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answer = ask(gateway)
            codes[answer.status_code, code(answer)] += 1

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    time.sleep(1)
    triton.process.kill()
    triton.process.wait()
    until(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 503)
    answer = ask(gateway)
    assert (answer.status_code, code(answer)) == (503, "engine_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    # What clients read names no inner address.
    assert triton.grpc not in answer.text
    assert answer.elapsed.total_seconds() < QUEUE_S
    assert httpx.get(f"{gateway.url}/livez").status_code == 200
    until(lambda: "\nattnvgg_ready 0.0\n" in httpx.get(f"{gateway.url}/metrics").text)
    assert httpx.get(f"{gateway.url}/v2/models/tiny/ready").status_code == 503

    triton.restart()
    triton.wait()
    until(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
    until(lambda: ask(gateway).status_code == 200)
    until(lambda: "\nattnvgg_ready 1.0\n" in httpx.get(f"{gateway.url}/metrics").text)
    stop.set()
    for client in clients:
        client.join()
    assert codes[200, "ok"] > 0
    assert codes[503, "engine_unavailable"] > 0
    assert set(codes) <= {(200, "ok"), (503, "engine_unavailable"), (503, "overloaded")}
    log = gateway.log.read_text()
    assert log.count("does not answer, requests are refused") == 1
    assert "is back" in log


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end_ = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_
        time.sleep(0.05)


def started(models: Path, home: Path, **settings: str) -> str:
    """What a server says that must not start."""
    server = Server(models, home, **settings)
    try:
        assert server.process.wait(120) == 1
    finally:
        if server.process.poll() is None:
            end(server.process)
    return server.log.read_text()


def test_the_graph_that_triton_was_given_is_the_one_that_is_named(
    triton_environment: Path, gentle_checkpoint: Path, tmp_path: Path
) -> None:
    """It is compared with golden.npz within what the export allowed for that graph."""
    from attnvgg_export.build import build
    from attnvgg_serving import trial
    from attnvgg_serving.settings import Settings

    folder = tmp_path / "models" / "gentle" / "1"
    build(gentle_checkpoint, folder, ["onnx", "fp16"])
    options = Options("python", threads=1, format="fp16")
    write(tmp_path / "models", tmp_path / "repository", options)
    server = Triton(triton_environment, tmp_path, tmp_path / "repository")
    try:
        server.wait()
        settings = Settings(engine="triton", triton_url=server.grpc)
        bundle, engine = trial.load(folder, settings)
    finally:
        server.end()
    assert engine.precision == "fp16"
    assert engine.sha256 == bundle.manifest.files["model.fp16.onnx"].sha256


def test_another_network_under_the_name_is_refused(
    triton_environment: Path,
    gentle_checkpoint: Path,
    tiny_models: Path,
    tmp_path: Path,
) -> None:
    """Triton has other weights as tiny/1: golden.npz, sent through it, tells."""
    from attnvgg_export.build import build

    build(gentle_checkpoint, tmp_path / "others" / "tiny" / "1")
    write(tmp_path / "others", tmp_path / "repository", Options("python", threads=1))
    server = Triton(triton_environment, tmp_path, tmp_path / "repository")
    try:
        server.wait()
        settings = {"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": server.grpc}
        (tmp_path / "home").mkdir()
        log = started(tiny_models, tmp_path / "home", **settings)
    finally:
        server.end()
    assert "attnvgg: cannot start: " in log
    assert "golden.npz (triton:python:cpu, fp32)" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ATTNVGG_ENGINE": "triton"}, "engine triton needs the address, such as triton:8001"),
        ({"ATTNVGG_TRITON_URL": "triton:8001"}, "no other engine takes it"),
        ({"ATTNVGG_ENGINE": "triton", "ATTNVGG_TRITON_URL": "http://t:1"}, "ATTNVGG_TRITON_URL is"),
        (
            {
                "ATTNVGG_ENGINE": "triton",
                "ATTNVGG_TRITON_URL": "t:1",
                "ATTNVGG_PRECISION": "int8",
            },
            "both are chosen when its repository is written",
        ),
    ],
)
def test_settings_that_cannot_be_right(settings: dict[str, str], message: str) -> None:
    code = "from attnvgg_serving import check; raise SystemExit(check.main())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nobody_there_is_one_line(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnvgg_serving import trial
    from attnvgg_serving.engines import triton as engine
    from attnvgg_serving.errors import StartError
    from attnvgg_serving.settings import Settings

    monkeypatch.setattr(engine, "WAIT_S", 0.5)
    settings = Settings(models=tiny_models, engine="triton", triton_url="127.0.0.1:9")
    with pytest.raises(StartError, match=r"Triton at 127.0.0.1:9 cannot be asked: .*0\.5 s") as no:
        trial.load(tiny_models / "tiny" / "1", settings)
    assert "\n" not in str(no.value)
