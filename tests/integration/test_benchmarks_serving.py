"""benchmarks/serving counts what happens, refuses wrong answers, and its document is its data."""

import base64
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from support import ROOT

SERVING = ROOT / "benchmarks" / "serving"
Importer = Callable[[str], ModuleType]
REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def script() -> Iterator[Importer]:
    """Imports a module of the benchmark's folder, which is no package; the other benchmark has
    modules of the same names."""
    names = [path.stem for path in SERVING.glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = list(sys.path)
    sys.path.insert(0, str(SERVING))
    yield importlib.import_module
    sys.path[:] = before
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@contextmanager
def answering(answer: Callable[[int], bytes | None], delay: float = 0.0) -> Iterator[int]:
    """A server of one thread a connection; `answer` has the request's number. None: it hangs up.

    Yields the port.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    count = iter(range(10**9))

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST:
                time.sleep(delay)
                said = answer(next(count))
                if said is None:
                    return
                # In two parts, as a large answer may come.
                connection.sendall(said[:10])
                connection.sendall(said[10:])

    def quietly(connection: socket.socket) -> None:
        with suppress(OSError):  # the generator leaves with requests under way
            serve(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def load(folder: Path, port: int, **changes: object) -> dict[str, Any]:
    """What the real generator reports."""
    job = {
        "port": port,
        "pid": os.getpid(),
        "clients": 2,
        "warm_up": 0.3,
        "seconds": 0.6,
        "pause": 0.01,
        "timeout": 30.0,
        "samples": 5,
        "requests": [base64.b64encode(REQUEST).decode()],
        **changes,
    }
    source, target = folder / "job.json", folder / "found.json"
    source.write_text(json.dumps(job))
    subprocess.run([sys.executable, SERVING / "load.py", source, target], check=True, timeout=120)
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_answers_are_counted_and_timed_within_the_window(tmp_path: Path) -> None:
    seen: list[int] = []

    def answer(number: int) -> bytes:
        seen.append(number)
        return ok(b"body")

    with answering(answer, delay=0.02) as port:
        found = load(tmp_path, port)
    count = len(found["latencies"])
    assert found["statuses"] == {"200": count}
    assert found["errors"] == {}
    assert 0 < count < len(seen)
    assert count <= 2 * (found["seconds"] / 0.02 + 1)
    assert found["latencies"][0] >= 0.02
    assert 1 <= len(found["samples"]) <= 6
    assert base64.b64decode(found["samples"][0][1]) == ok(b"body")
    assert found["client_cpu"] > 0


def test_what_comes_while_warming_up_is_forgotten(tmp_path: Path) -> None:
    first = b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nbody"
    with answering(lambda number: first if number < 4 else ok(b"body"), delay=0.01) as port:
        found = load(tmp_path, port, warm_up=2.0)
    assert set(found["statuses"]) == {"200"}


def test_an_answer_in_chunks_is_an_answer(tmp_path: Path) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    with answering(lambda number: chunks, delay=0.01) as port:
        found = load(tmp_path, port)
    assert found["statuses"] == {"200": len(found["latencies"])}
    assert found["latencies"]


def test_refusals_are_told_from_answers(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"
    said = [ok(b"body"), refusal]
    with answering(lambda number: said[number % 2], delay=0.01) as port:
        found = load(tmp_path, port)
    assert set(found["statuses"]) == {"200", "503"}
    assert len(found["latencies"]) == found["statuses"]["200"]
    assert found["errors"] == {}


def test_a_connection_that_is_dropped_is_an_error_and_is_made_again(tmp_path: Path) -> None:
    with answering(lambda number: None if number % 3 == 2 else ok(b"body"), delay=0.01) as port:
        found = load(tmp_path, port)
    assert found["errors"]["closed without an answer"] > 1
    assert found["statuses"]["200"] > 1


def test_what_takes_too_long_or_is_empty_is_an_error(tmp_path: Path) -> None:
    with answering(lambda number: ok(b"body"), delay=5) as port:
        found = load(tmp_path, port, timeout=0.1, seconds=1.5)
    assert found["errors"]["timeout"] >= 2
    assert found["latencies"] == []
    with answering(lambda number: ok(b""), delay=0.01) as port:
        found = load(tmp_path, port)
    assert set(found["errors"]) == {"an empty answer"}
    assert found["latencies"] == []


def test_cpu_and_memory_are_those_of_the_whole_tree(script: Importer) -> None:
    processes = script("processes")
    child = "held = bytearray(80_000_000)\nwhile True: pass"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    try:
        before, deadline = processes.begin(process.pid), time.monotonic() + 60
        while processes.cpu(process.pid) - before < 0.5 and time.monotonic() < deadline:
            time.sleep(0.05)
        found = processes.end(process.pid, before)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert found["processes"] == 2
    assert found["server_cpu"] >= 0.5
    assert found["memory"] > 80_000_000


def test_a_wrong_answer_is_seen(script: Importer) -> None:
    answers = script("answers")
    expected = {
        "probabilities": np.array([0.25, 0.75], np.float32),
        "attention_conv7": np.array([[0.5, 0.5]], np.float32),
    }
    right: dict[str, Any] = {"probabilities": [0.25, 0.75], "attention_conv7": [[0.5, 0.5]]}

    def check(said: object, maps: bool = True) -> None:
        answers.check(ok(json.dumps(said).encode()), expected, maps)

    check(right)
    check([right])  # as BentoML has it
    check([[0.25, 0.75]], maps=False)
    for wrong in (
        right | {"probabilities": [0.2, 0.8]},
        right | {"attention_conv7": [[0.5, 0.4]]},
        right | {"attention_conv7": [0.5, 0.5]},
        {"probabilities": [0.25, 0.75]},
        {"error": "none"},
        [],
    ):
        with pytest.raises(answers.WrongAnswer):
            check(wrong)
    with pytest.raises(answers.WrongAnswer, match="has the maps"):
        check(right, maps=False)
    level = {"shape": [1, 2], "datatype": "FP16", "parameters": {"binary_data_size": 4}}
    head = {"top_k": [{"index": 1, "probability": 0.75}], "attention": {"conv7": level}}
    said = json.dumps({"predictions": [head]}).encode()
    line = b"\r\nInference-Header-Content-Length: %d\r\n\r\n" % len(said)
    data = np.array([0.5, 0.5], "<f2").tobytes()
    answers.check(b"HTTP/1.1 200 OK" + line + said + data, expected, True)
    with pytest.raises(answers.WrongAnswer):
        answers.check(b"HTTP/1.1 200 OK" + line + said + data[::-1], expected, True)


@pytest.fixture
def values(script: Importer) -> dict[str, Any]:
    """results.json of an imagined run: the bare session at 100, the gateway at 80, peers at 40."""
    settings = script("settings")

    def cell(target: Any, clients: int) -> dict[str, Any]:
        rate = {"gateway": 80.0, "triton-1": 60.0, "triton-2": 90.0}.get(target.server, 40.0)
        found = {
            "rate": rate,
            "p50_ms": 1.0,
            "p99_ms": 2.0,
            "answers": 100,
            "statuses": {"200": 100},
            "errors": {},
            "server_cpu_s": 0.2,
            "client_cpu_s": 0.1,
            "memory_mb": 300.0,
            "processes": 2,
        }
        return {**vars(target), "clients": clients, "rounds": [found]}

    cases = [(t, n) for s in settings.SERVERS for t in settings.targets(s) for n in (1, 64)]
    return {
        "date": "today",
        "quick": False,
        "bundle": "tiny/1",
        "size": "32 x 32",
        "clients": [1, 64],
        **{"seconds": 4.0, "warm_up": 1.0, "rounds": 1, "minutes": 1.0},
        "machine": {
            **{"cpu": "a processor", "cores": 2, "system": "a system", "python": "3"},
            **{"generator": "uvloop", "load_at_start": 0.1},
        },
        "versions": {"gateway": {"bentoml": "1"}},
        "sizes": {"gateway, pixels, no maps": {"request": 3000, "answer": 300}},
        "bare": [
            [
                {"batch": batch, "maps": maps, "rate": 100.0, "cpu_ms": 2.0}
                for batch, maps in product((1, 32), (False, True))
            ]
        ],
        "generator": [[{"clients": n, "rate": 9.0, **_used()} for n in (1, 64)]],
        "cells": [cell(target, clients) for target, clients in cases],
    }


def _used() -> dict[str, Any]:
    return {"client_cpu_s": 0.1, "answers": 100}


def test_whether_an_aim_is_met_is_computed(values: dict[str, Any], script: Importer) -> None:
    text = script("report").render(values)
    assert "- No error but the documented refusals, at any load: met, in 4 of 4 cases." in text
    assert "and the most clients: met, in 2 of 2 cases." in text
    assert "- 2 times LitServe and stock BentoML or more: met, in 16 of 16 cases." in text
    assert "set-ups or more: not met, in 0 of 4 cases." in text  # 80 beside 60 and 90
    assert "- Maps in binary cost less than 5 % of throughput: met, in 4 of 4 cases." in text
    assert "| pixels, no maps, 64 clients | 0.80 | yes |" in text
    for cell in values["cells"]:
        if cell["server"] == "gateway" and cell["maps"]:
            cell["rounds"][0] |= {"rate": 72.0, "errors": {"timeout": 1}}
            cell["rounds"][0]["statuses"] = {"200": 100, "503": 2, "429": 1, "500": 3}
    text = script("report").render(values)
    assert "at any load: not met, in 2 of 4 cases." in text
    assert "| pixels, maps, 64 clients | 0.72 | no |" in text
    assert "| LitServe; pixels, maps, 1 client | 1.80 times | no |" in text
    assert "| pixels, 64 clients | 10.0 % (in JSON 10.0 %) | no |" in text
    assert "| **attnvgg** | 64 | 72 (72) | 0.72 | 1 | 2 | 3 | 4 | 2 | 1 | 300 |" in text
    assert "attnvgg, maps in JSON" in script("plot").render(values)


def test_ratios_are_of_the_same_round(script: Importer) -> None:
    assert script("results").ratio([50.0, 10.0, 30.0], [100.0, 20.0, 40.0]) == pytest.approx(0.5)


def test_every_request_says_its_length(script: Importer) -> None:
    settings, wire = script("settings"), script("wire")
    picture = wire.Picture(np.zeros((32, 32, 3), np.uint8), b"\xff\xd8jpeg")
    targets = [target for server in settings.SERVERS for target in settings.targets(server)]
    assert len(targets) == 7 * 4 + 2
    names = ["probabilities", "attention_conv7"]
    for target in targets:
        head, _, body = wire.encode(target, picture, "tiny", names).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert len(body) > (3000 if target.payload == "pixels" else 5)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    """The folder of a quick run by the real command."""
    out = tmp_path_factory.mktemp("serving")
    run(out, tiny_models)
    return out


def run(out: Path, models: Path, *arguments: str) -> str:
    command = [sys.executable, SERVING / "run.py", "--quick", "--out", out, *arguments]
    done = subprocess.run(
        [*command, "--bundle", models / "tiny" / "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_measures_the_gateway_beside_the_bare_session(quick: Path) -> None:
    found = json.loads((quick / "results.json").read_text())
    keys = ("payload", "maps", "form", "clients")
    cases = {tuple(cell[key] for key in keys) for cell in found["cells"]}
    forms = [(False, "binary"), (True, "binary"), (True, "json")]
    assert cases == {(p, *form, n) for p in ("pixels", "jpeg") for form in forms for n in (1, 4)}
    for cell in found["cells"]:
        (measured,) = cell["rounds"]
        assert measured["errors"] == {}
        assert measured["statuses"] == {"200": measured["answers"]}
        assert measured["rate"] > 0
        assert 0 < measured["p50_ms"] <= measured["p99_ms"]
        assert measured["server_cpu_s"] > 0
        assert measured["memory_mb"] > 50
    assert all(each["rate"] > 0 for each in found["bare"][0] + found["generator"][0])


def test_a_quick_run_says_so_and_is_rendered_as_it_is_stored(quick: Path, script: Importer) -> None:
    found = json.loads((quick / "results.json").read_text())
    text = (quick / "RESULTS.md").read_text()
    assert "the figures mean nothing" in text
    assert text == script("report").render(found)
    assert (quick / "throughput.svg").read_text() == script("plot").render(found)


def test_a_run_that_ended_early_goes_on(quick: Path, tiny_models: Path, tmp_path: Path) -> None:
    found = json.loads((quick / "results.json").read_text())
    whole = json.loads(json.dumps(found))
    lost = found["cells"].pop()
    (tmp_path / "results.json").write_text(json.dumps(found))
    said = run(tmp_path, tiny_models, "--resume")
    assert said.count("round 1: ") == 1
    resumed = json.loads((tmp_path / "results.json").read_text())
    assert resumed["cells"][:-1] == whole["cells"][:-1]
    assert resumed["cells"][-1].keys() == lost.keys()
    assert resumed["cells"][-1]["rounds"] != lost["rounds"]


def test_results_of_other_settings_are_not_gone_on_with(
    quick: Path, script: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (quick / "results.json").read_text()
    (tmp_path / "results.json").write_text(before)
    assert script("run").main(["--resume", "--out", str(tmp_path)]) == 2
    assert "of a run with other settings" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_text() == before


def test_what_cannot_run_is_a_message(
    script: Importer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        script("run").main(["--servers", "gateway,torchserve", "--out", str(tmp_path)])
    assert (
        "--servers has torchserve; known are gateway, gateway-triton, triton-1"
        in capsys.readouterr().err
    )


def test_the_committed_document_is_made_of_the_committed_results(script: Importer) -> None:
    found = json.loads((SERVING / "results.json").read_text())
    assert (SERVING / "RESULTS.md").read_text() == script("report").render(found)
    assert (SERVING / "throughput.svg").read_text() == script("plot").render(found)
    settings = script("settings")
    assert not found["quick"]
    keys = ("server", "payload", "maps", "form", "clients")
    cases = {tuple(cell[key] for key in keys) for cell in found["cells"]}
    targets = [target for server in settings.SERVERS for target in settings.targets(server)]
    assert cases == {(*vars(t).values(), n) for t in targets for n in settings.CLIENTS}
    assert all(len(cell["rounds"]) == found["rounds"] for cell in found["cells"])
